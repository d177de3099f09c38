"""Looks at everything that only the agent sees, each within its own time, and lets the pure parts judge it."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import logging
import os
import re
import socket
import sys
from collections.abc import Awaitable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, TypeVar
from urllib.parse import urlsplit

from sightglass import guards
from sightglass.adapters import clock
from sightglass.adapters.tailnet import TailnetError
from sightglass.agent import Agent
from sightglass.config import Config, ConfigError, load
from sightglass.doctor import host, site, vpn
from sightglass.doctor.finding import Finding
from sightglass.facts import Facts, Listener, NodeHealth
from sightglass.observer import Subject
from sightglass.refusal import Refusal
from sightglass.viewers import Needed, NodeRules, refusal
from sightglass.window import Purpose

log = logging.getLogger(__name__)

CAMERAS_S = 5.5
"""For all cameras together: those that have not been looked at by then are unknown."""
CHAIN_S = 4.0
MOST_S = 7.0
"""The looks side by side, then who has a port that is taken."""
_UNITS_S = 1.5
_PROBE_S = 0.3
_NOBODYS = 1
"""tcpmux, of which nobody has heard for decades."""
_CARRIERS = ipaddress.ip_network("100.64.0.0/10")
_NEXT_S = 0.1
_SOURCE = re.compile(r"([0-9a-f.:]+) \. (\d+)")
_LISTENS = re.compile(r"^(tcp|udp)\s.*?:(\d+)\s.*cgroup:\S*/(\S+)")
T = TypeVar("T")


class Examiner:
    """Examines one agent's gateway. Whoever asks while that goes on gets the same answer."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._going: asyncio.Task[list[Finding]] | None = None

    async def findings(self) -> list[Finding]:
        """All of them, in MOST_S at most. Raises Refusal when the loop is stopped meanwhile."""
        if self._going is None or self._going.done():
            self._going = asyncio.create_task(self._examine(), name="doctor")
        try:
            return list(await asyncio.shield(self._going))
        except asyncio.CancelledError:
            if self._going.cancelled():
                raise Refusal("stopping", "the agent is being stopped", 503) from None
            raise

    async def _examine(self) -> list[Finding]:
        agent, config = self._agent, self._agent.config
        store, reserved = agent.store, (*config.ports.reserved(), config.ports.hook)
        (facts, looks), (standing, listeners, report, read, silent) = await asyncio.gather(
            asyncio.gather(self._facts(), self._look()),
            asyncio.gather(
                _or_none(agent.parts.tailnet.standing()),
                _or_none(agent.observer.listening(reserved)),
                _or_none(asyncio.wait_for(asyncio.to_thread(store.verification([])), CHAIN_S)),
                asyncio.to_thread(_reread, Path(host.CONFIG), config),
                self._probe(config.ports.media),
            ),
        )
        return [
            host.running_configuration(*read),
            host.enabled(agent.marks(), guards.SWITCH),
            *self._vpn(facts, standing),
            host.time(facts),
            *self._site(facts),
            *self._cameras(looks),
            *await self._world(facts, listeners),
            host.gate(*silent) if silent is not None else host.gate_in_use(),
            site.load(facts),
            self._room(),
            host.receipts(None if report is None else report.answer()),
        ]

    async def _facts(self) -> Facts:
        observer = self._agent.observer
        await observer.renew()
        return observer.facts(self._subject(), disabled=bool(self._agent.machine.disabled))

    async def _probe(self, port: int) -> tuple[bool | None, bool | None] | None:
        # Not beside a window: for microseconds the probe's socket is bound and not connected yet.
        return None if self._agent.live is not None else await asyncio.to_thread(_swallowed, port)

    def _subject(self) -> Subject:
        live, cameras = self._agent.live, tuple(self._agent.config.cameras)
        if live is None:
            return Subject(cameras, Purpose.ALIGNMENT, frozenset(), None)
        return Subject(cameras, Purpose.ALIGNMENT, live.subject.allowed, live.subject.config_hash)

    def _vpn(self, facts: Facts, standing: NodeHealth | None) -> list[Finding]:
        config, seen = self._agent.config, facts.vpn
        rules = NodeRules(config.viewers.key_must_expire, frozenset(config.viewers.devices))
        may = [
            peer
            for peer in (seen.peers if seen is not None else ())
            if any(refusal(peer, Needed(config.site, (camera,), rules=rules)) is None for camera in config.cameras)
        ]
        return [
            vpn.vpn(facts, self._agent.observer.doubt("vpn")),
            vpn.contact(facts),
            vpn.key(standing, clock.wall()),
            vpn.health(standing),
            vpn.mtu(standing, config.tailscale.interface),
            vpn.may_watch(
                len(may),
                len({peer.user_id for peer in may}),
                config.site,
                config.tailscale.capability,
                seen is not None and seen.state == "Running",
            ),
            vpn.path(standing, frozenset(peer.node for peer in may)),
        ]

    def _site(self, facts: Facts) -> list[Finding]:
        config, heard = self._agent.config, self._agent.observer.heard()
        trips = [strain.seen for strain in facts.load if strain.what.startswith("the broker's round trip")]
        trip = trips[0] / 1000 if trips and trips[0] is not None else None
        lanes = {name: config.lanes[name] for name in sorted(config.lanes)}
        seen = {lane.name: lane for lane in facts.lanes}
        return [
            site.broker(f"{config.mqtt.host}:{config.mqtt.port}", heard.connected, heard.trouble, trip),
            *(
                site.lane(seen[name], frozenset(lane.safe_debug), lane.state_topic, lane.heartbeat_topic)
                for name, lane in lanes.items()
                if name in seen  # one that no camera names is asked for by no window
            ),
        ]

    def _cameras(self, looks: Mapping[str, site.Look]) -> list[Finding]:
        live = self._agent.live
        report = self._agent.parts.feed.report if live is not None else None
        allowed = _sources(Path(host.RULES))
        found = []
        for name, camera in self._agent.config.cameras.items():
            where = urlsplit(camera.url)
            address, port = _literal(where.hostname or ""), where.port or 80
            near = address is None or address.is_loopback or address in _CARRIERS
            shown: str | None = None
            if live is not None:
                shown = report.cameras[name].state if report is not None and name in report.cameras else ""
            may = allowed is None or address is None or (str(address), port) in allowed
            found.append(site.camera(name, f"{where.hostname}:{port}", near, may, looks.get(name), shown))
        return found

    async def _look(self) -> dict[str, site.Look]:
        """Let a process of its own look at the cameras; it ends with its time, and when a window begins."""
        agent = self._agent
        if agent.live is not None:
            return {}
        asked = {name: camera.url for name, camera in agent.config.cameras.items()}
        with _in_memory(json.dumps(asked) + "\n") as question:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-I", "-m", "sightglass.feed.look",
                stdin=question, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
        talking = asyncio.create_task(process.communicate())
        try:
            end = clock.boottime() + CAMERAS_S
            while not talking.done() and clock.boottime() < end and agent.live is None:
                await asyncio.wait({talking}, timeout=_NEXT_S)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        out, _ = await talking
        return _looks(out)

    async def _world(self, facts: Facts, listeners: frozenset[Listener] | None) -> list[Finding]:
        ports = self._agent.config.ports
        window = {
            ports.rtsp: "players",
            ports.console: "the page",
            ports.webrtc: "WebRTC offers",
            ports.media: "WebRTC pictures",
        }
        files = host.files(self._agent.observer.strange())
        if listeners is None:
            return [host.exposure(facts), files]
        ours = frozenset(self._agent.parts.users.values())
        others = [listener for listener in listeners if listener.uid not in ours]
        found = site.ports(others, window, ports.hook, {})
        if found.verdict != "ok":
            found = site.ports(others, window, ports.hook, await _who())
        explained = found.verdict != "ok" or files.verdict != "ok"
        return [found, files, *([] if explained else [host.exposure(facts)])]

    def _room(self) -> Finding:
        return host.room(self._agent.store.free(), self._agent.store.room())


def _in_memory(text: str) -> BinaryIO:
    """`text` as an input of a child's: as an argument, every local user would read the cameras' URLs.

    No pipe: Debian 12's Python writes a traceback into the journal when a child ends before it has read its own (seen:
    the agent was stopped in the middle of an examination).
    """
    file = os.fdopen(os.memfd_create("question"), "w+b")
    file.write(text.encode())
    file.seek(0)
    return file


async def _or_none(asked: Awaitable[T]) -> T | None:
    try:
        return await asked
    except (TailnetError, OSError, TimeoutError) as error:
        log.info("doctor: %s", error)
        return None


def _reread(path: Path, running: Config) -> tuple[str | None, bool]:
    try:
        return None, load(path) == running
    except ConfigError as error:
        return str(error), False


def _swallowed(port: int) -> tuple[bool | None, bool | None]:
    """Whether a datagram to our port at loopback stays unanswered, and one to a port of nobody's is refused.

    No socket is bound for it: the agent's own would be a listener that must not be (seen: `exposure`).
    """
    try:
        return _unanswered(port), not _unanswered(_NOBODYS)
    except OSError:
        return None, None


def _unanswered(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.settimeout(_PROBE_S)
        probe.connect(("127.0.0.1", port))
        probe.send(b"?")
        try:
            probe.recv(1)
        except TimeoutError:
            return True
        except ConnectionRefusedError:
            return False
        return False


async def _who() -> dict[tuple[str, int], str]:
    """The unit behind each listener, as `ss` tells it; nothing where it does not."""
    process = await asyncio.create_subprocess_exec(
        "/usr/bin/ss", "-Hltune", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    talking = asyncio.create_task(process.communicate())
    await asyncio.wait({talking}, timeout=_UNITS_S)
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    out, _ = await talking
    rows = (_LISTENS.match(line) for line in out.decode("utf-8", "replace").splitlines())
    return {(row[1], int(row[2])): row[3] for row in rows if row is not None}


def _sources(path: Path) -> frozenset[tuple[str, int]] | None:
    """Where the kernel gate lets the feed go, by the gate's file; None: it does not tell."""
    try:
        rules = path.read_text()
    except (OSError, UnicodeDecodeError):
        return None
    lines = [line for line in rules.splitlines() if line.strip().startswith(("set sources", "elements = {"))]
    return frozenset((found[1], int(found[2])) for line in lines for found in _SOURCE.finditer(line))


def _literal(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address("127.0.0.1" if name == "localhost" else name)
    except ValueError:
        return None


def _looks(said: bytes) -> dict[str, site.Look]:
    """What each whole line says of its camera: the last one may be half, of a look that was ended."""
    lines = said.split(b"\n")[:-1]
    return {name: _seen(look) for line in lines for name, look in json.loads(line).items()}


def _seen(look: Mapping[str, Any]) -> site.Look:
    size = look.get("size")
    return site.Look(
        pictures=int(look.get("pictures", 0)),
        size=None if size is None else (int(size[0]), int(size[1])),
        seconds=float(look.get("seconds", 0.0)),
        trouble=look.get("trouble"),
    )
