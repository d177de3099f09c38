"""What belongs to the window that is not closed yet, and goes with it: shutter, stream server, feed, hook, joins."""

from __future__ import annotations

import asyncio
import contextlib
import math
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sightglass import mediamtx
from sightglass.adapters import clock, units
from sightglass.adapters.console import ConsoleChannel, News
from sightglass.adapters.feed import FeedChannel
from sightglass.adapters.hook import Hook
from sightglass.adapters.shutter import Shutter, ShutterError
from sightglass.adapters.tailnet import Tailnet
from sightglass.config import Config
from sightglass.facts import Listener
from sightglass.joins import Joins, RecordFn
from sightglass.observer import Observer, Subject
from sightglass.viewers import Address, Needed, NodeRules, Peer, Viewer, departure, remembered
from sightglass.window import End, Machine, State, Window

SERVER_CONFIG = "mediamtx.yml"
LIVE_S = 3.0
"""How long an opening waits for a live picture; after that a slate will do: a dead camera is a reason to look."""
BLANK_S = 0.5
READ_S = 0.02
FAREWELL_S = 0.025
"""How long a cut waits at most for the pages to hear why: they hear it in 3 ms, and a cut has 100."""
_SHOWN = {State.OPEN: "open", State.SUSPENDED: "suspended"}
_LOST = {
    "shutter-lost": "the shutter has ended",
    "feed-lost": "the feed has ended",
    "console-lost": "the console has ended",
    "server-lost": "the stream server has ended",
}


@dataclass(frozen=True, slots=True)
class Parts:
    """What windows are made of. `users` are the uids of agent, MediaMTX, feed, console and shutter, by name."""

    config: Config
    observer: Observer
    tailnet: Tailnet
    feed: FeedChannel
    console: ConsoleChannel
    users: dict[str, int]
    run_dir: Path
    shutter_socket: str

    @property
    def server_config(self) -> Path:
        """MediaMTX's configuration, which exists only during a window."""
        return self.run_dir / SERVER_CONFIG


class Live:
    """One window's parts at work. Raises OSError when the VPN's own address is not known: nothing has started then.

    `machine` shows the window's state, `record` writes a receipt, `changed` wakes the agent's loop.
    """

    def __init__(
        self,
        parts: Parts,
        window: Window,
        machine: Callable[[], Machine],
        record: RecordFn,
        changed: Callable[[], None],
    ) -> None:
        vpn = parts.observer.vpn()
        if vpn is None or not vpn.own:
            raise OSError("tailscaled does not answer")
        self._parts, self._window, self._machine, self._changed = parts, window, machine, changed
        self._path = f"/{secrets.token_urlsafe(24)}"
        ports = parts.config.ports
        self.own = vpn.own
        own4 = next((str(address) for address in vpn.own if address.version == 4), None)
        if own4 is None:
            raise OSError("the gateway has no IPv4 address in the VPN, which the stream server needs")
        self._own4 = own4
        server_ports = mediamtx.ServerPorts(ports.rtsp, ports.webrtc, ports.media, ports.hook)
        self._text = mediamtx.render(self._own4, server_ports, self._path, window.cameras)
        server = parts.users["mediamtx"]
        allowed = frozenset(
            {
                *(Listener("tcp", own4, port, server) for port in (ports.rtsp, ports.webrtc, ports.media)),
                Listener("udp", own4, ports.media, server),
                Listener("tcp", own4, ports.console, parts.users["console"]),
                Listener("tcp", "127.0.0.1", ports.hook, parts.users["agent"]),
            }
        )
        self.subject = Subject(window.cameras, window.purpose, allowed, mediamtx.config_hash(self._text))
        rules = NodeRules(parts.config.viewers.key_must_expire, frozenset(parts.config.viewers.devices))
        self.needed = Needed(parts.config.site, window.cameras, window.privacy, window.named, rules)
        self.joins = Joins(
            self.needed,
            vpn.own,
            secrets.token_urlsafe(24),
            secrets.token_urlsafe(24),
            parts.tailnet,
            machine,
            record,
            parts.feed.order_keyframe,
            self._sent,
            self._connected,
        )
        self._hook = Hook(self._path, self.joins.decide)
        self._began = clock.boottime()
        self._shutter: Shutter | None = None
        self._viewers: tuple[Viewer, ...] = ()
        self._gone: dict[Address, str] = {}
        self._counted = 0.0
        self._over = asyncio.Event()
        self._watchers: tuple[asyncio.Task[None], ...] = ()
        self._lost: str | None = None
        self._blank_by: float | None = None
        self._blank_seq = 0
        self.cut_ms: float | None = None

    async def start(self) -> None:
        """Connect to the shutter, which starts everything else. Raises OSError; then `cut` takes back what is there."""
        parts = self._parts
        parts.server_config.touch(mode=0o600)
        parts.server_config.write_text(self._text)
        await self._hook.start(parts.config.ports.hook)
        parts.feed.offer(self._feed_job())
        parts.console.offer(self._console_job())
        self._watchers = (
            asyncio.create_task(parts.observer.poll(self._over), name="vpn"),
            asyncio.create_task(parts.observer.watch_sockets(self._over), name="sockets"),
            asyncio.create_task(parts.observer.watch_broker(self._over), name="broker"),
        )
        try:
            self._shutter = await Shutter.connect(parts.shutter_socket, self._shutter_lost)
            # The publisher's own lease comes with the first renewal; without it not even the feed gets in.
            await self.lease((), ())
        except ShutterError as error:
            raise OSError(f"the shutter did not start: {error}") from error

    async def cut(self) -> None:
        """Tell the pages, close the shutter, then the rest. Raises nothing: the cut is what must not fail."""
        await self.tell(FAREWELL_S)
        began = clock.boottime()
        if self._shutter is not None:
            self.cut_ms = await self._shutter.close()
        if self.cut_ms is None:
            self.cut_ms = round((clock.boottime() - began) * 1000, 1)
        self._parts.feed.withdraw()
        self._parts.console.withdraw()
        await self._hook.stop()
        self._over.set()
        window = self._machine().window or self._window
        self.joins.end(window.cause or "closed", self._viewers, self.cut_ms)
        with contextlib.suppress(OSError):
            self._parts.server_config.unlink()

    async def lease(self, viewers: tuple[Viewer, ...], peers: tuple[Peer, ...]) -> None:
        """Let exactly these viewers through for a lease; who is left out hears it first. Raises ShutterError.

        `peers` are all in the VPN: they tell why somebody is left out.
        """
        if self._shutter is None:
            raise ShutterError("not connected")
        staying = {viewer.node for viewer in viewers}
        leaving = {viewer: departure(viewer.node, peers) for viewer in self._viewers if viewer.node not in staying}
        wanted, before = _addresses(viewers), _addresses(self._viewers)
        now_gone = {address: why for viewer, why in leaving.items() for address in viewer.addresses}
        self._gone = remembered({**self._gone, **now_gone}, wanted)
        self._viewers = viewers
        await self.tell(FAREWELL_S if before - wanted else 0.0)
        # Never beyond the deadline: an agent that stands still then shows nothing after it. Whole seconds, 1 at least.
        left, began, cut_ms = math.ceil(self._window.deadline - clock.boottime()), clock.boottime(), None
        try:
            await self._shutter.renew(self.own, sorted(wanted, key=str), max(1, min(self._parts.config.lease_s, left)))
            self._counted = clock.boottime()
            cut_ms = round((self._counted - began) * 1000, 1)
        finally:
            for viewer, why in leaving.items():
                self.joins.depart(viewer, why, cut_ms)

    @property
    def holding(self) -> frozenset[str]:
        """The nodes that hold a lease."""
        return frozenset(viewer.node for viewer in self._viewers)

    async def tell(self, wait_s: float) -> None:
        """Tell the pages how the window is, and who may watch; waits at most `wait_s` until they have it."""
        machine = self._machine()
        window = machine.window or self._window
        state = _SHOWN.get(machine.state, "ended")
        if machine.state is not State.OPENING:
            news = News(state, window.cause, window.why, _addresses(self._viewers), dict(self._gone))
            await self._parts.console.tell(news, max(0.0, window.deadline - clock.boottime()), wait_s)

    def lease_due(self, viewers: tuple[Viewer, ...], renewed: float | None) -> bool:
        """Whether a renewal is wanted now: somebody came or went, or a fifth of the lease is over."""
        if self._shutter is None:
            return False
        due = renewed is None or clock.boottime() >= renewed + self._parts.config.lease_s / 5
        return due or _addresses(viewers) != _addresses(self._viewers)

    def show(self, picture: bool) -> None:
        """Order the picture, or the blank slate, which has to be confirmed within BLANK_S."""
        self._blank_seq = self._parts.feed.order_show(picture)
        self._blank_by = None if picture else clock.boottime() + BLANK_S

    async def blank_missing(self) -> End | None:
        """The end of a window whose blank slate was not confirmed in time."""
        if self._blank_by is None:
            return None
        late = clock.boottime() >= self._blank_by
        if late and not self._blank():
            # A record's slow write has kept the loop from reading: what has come meanwhile counts.
            await asyncio.sleep(READ_S)
        if self._blank():
            self._blank_by = None
        elif late:
            return End("not-suspended", f"the blank picture was not confirmed within {BLANK_S * 1000:.0f} ms")
        return None

    def _blank(self) -> bool:
        report = self._parts.feed.report
        return report is not None and report.seq >= self._blank_seq and not report.show

    async def lost(self, state: State) -> End | None:
        """The end of a window that has lost a part, or the room for its record."""
        if self.joins.unwritten is not None:
            return End("no-room", self.joins.unwritten)
        noticed = self._lost or self._lost_part(state)
        if noticed is None:
            return None
        # systemd stops the others as soon as the shutter says that it ends, some 15 ms before its own end shows. No
        # picture flows meanwhile: whoever made it is gone.
        if self._shutter is not None and self._lost is None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._shutter.ended.wait(), 0.1)
        what = self._lost or noticed
        return self.loss(what, _LOST[what])

    def loss(self, what: str, why: str) -> End:
        """The end for a part that was lost, by what took it: without the VPN's address none of them can go on.

        A feed that cannot publish, or a shutter that finds no such address, was named before tailscaled's own silence
        was noticed (each once in some twenty stops of it).
        """
        missing = set(self.own) - set(self._parts.tailnet.present())
        if missing:
            return End("tailscaled-gone", f"the VPN address {min(missing, key=str)} is gone, and {why}")
        return End(what, why)

    def moved(self) -> End | None:
        """The end of a window whose gateway has another VPN address now."""
        vpn = self._parts.observer.vpn()
        if vpn is not None and vpn.own != self.own:
            return End("vpn-address-changed", "the gateway's VPN address has changed")
        return None

    def watched(self) -> bool:
        """Whether anybody watches now, with a player or a page."""
        players = {address for port, address in self._parts.observer.connected if port == self._parts.config.ports.rtsp}
        pages = self._parts.console.watching or frozenset()
        return self.joins.look(pages | players, clock.boottime(), self._counted)

    def published(self) -> bool:
        """Whether every camera has a picture, and the page can be asked for."""
        report = self._parts.feed.report
        if report is None or self._parts.console.watching is None or set(report.cameras) != set(self.subject.cameras):
            return False
        late = clock.boottime() >= self._began + LIVE_S
        return all(seen.published > 0 and (late or seen.state == "live") for seen in report.cameras.values())

    def blind(self) -> str | None:
        """A sentence about the cameras that send nothing, though the window is open; None when there is none."""
        report = self._parts.feed.report
        seen = {} if report is None else {name: camera.state for name, camera in report.cameras.items()}
        without = sorted(name for name, state in seen.items() if state in ("connecting", "stale"))
        return f"no picture of {', '.join(without)} yet: close, and ask `sightglass doctor` why" if without else None

    def urls(self) -> dict[str, str]:
        """Where an entitled viewer finds each camera."""
        return {
            camera: f"rtsp://{self._own4}:{self._parts.config.ports.rtsp}/{camera}" for camera in self.subject.cameras
        }

    def page(self) -> str:
        """Where an entitled viewer finds the page."""
        return f"http://{self._own4}:{self._parts.config.ports.console}/"

    def _sent(self) -> Mapping[Address, int]:
        return {} if self._shutter is None else self._shutter.sent

    async def _connected(self, by: str, viewer: Address) -> bool:
        ports, observer = self._parts.config.ports, self._parts.observer
        place = (ports.rtsp if by == "player" else ports.console, viewer)
        if place not in observer.connected:
            await observer.look()
        return place in observer.connected

    def _shutter_lost(self) -> None:
        self._lost = self._lost or "shutter-lost"
        self._changed()

    def _lost_part(self, state: State) -> str | None:
        # A shutter that ends takes the others with it: it is named first, whoever is noticed first.
        if state is not State.OPENING and not units.populated("sightglass-shutter.service"):
            return "shutter-lost"
        if self._parts.feed.lost:
            return "feed-lost"
        if self._parts.console.lost:
            return "console-lost"
        if state is not State.OPENING and not units.populated("sightglass-mediamtx.service"):
            return "server-lost"
        return None

    def _console_job(self) -> dict[str, Any]:
        config = self._parts.config
        return {
            "site": config.site,
            "purpose": self._window.purpose.value,
            "cameras": list(self._window.cameras),
            "address": self._own4,
            "port": config.ports.console,
            "server": config.ports.webrtc,
            "secret": self.joins.console_secret,
        }

    def _feed_job(self) -> dict[str, Any]:
        config = self._parts.config
        cameras = [
            {
                "name": camera,
                "source": config.cameras[camera].url,
                "publish": f"rtsp://feed:{self.joins.feed_secret}@{self._own4}:{config.ports.rtsp}/{camera}",
            }
            for camera in self.subject.cameras
        ]
        picture = config.picture
        return {
            "window": self._window.id,
            "width": picture.width,
            "height": picture.height,
            "fps": picture.fps,
            "block": picture.block,
            "cameras": cameras,
        }


def _addresses(viewers: tuple[Viewer, ...]) -> frozenset[Address]:
    return frozenset(address for viewer in viewers for address in viewer.addresses)
