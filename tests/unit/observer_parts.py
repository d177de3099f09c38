"""The observer as unit tests want it: with nothing to see, or at a gateway that is well."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
from collections.abc import Collection
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, cast

import pytest

from sightglass import guards
from sightglass.adapters import clock, sockets
from sightglass.adapters.console import ConsoleChannel
from sightglass.adapters.feed import FeedChannel
from sightglass.adapters.lanes import LaneListener
from sightglass.adapters.load import LoadWatch
from sightglass.adapters.pins import Pins
from sightglass.adapters.sockets import Sockets
from sightglass.adapters.tailnet import Tailnet
from sightglass.config import Config, Mqtt
from sightglass.facts import Facts, Listener, Vpn
from sightglass.live import Parts
from sightglass.mediamtx import config_hash
from sightglass.observer import Observer, Subject
from sightglass.verdict import Outcome
from sightglass.viewers import Address, Peer
from sightglass.window import Purpose
from tests.unit.test_config import GOOD

CONFIG = Config.model_validate(GOOD)
USERS = {"agent": 2000, "mediamtx": 2001, "feed": 2002, "console": 2003, "shutter": 2004}
OWN = (ip_address("100.64.0.1"),)
ANN = Peer("n-ann", "ann-laptop", "ann", 1, False, (ip_address("100.64.0.2"),), ({"sites": ["*"]},))


def listener(config: Config, load: LoadWatch) -> LaneListener:
    """What listens to this site's lanes, without a broker."""
    return LaneListener(Mqtt(port=1), config.lanes, clock.boottime, lambda: None, load.rate)


def observer(
    place: Path,
    *,
    config: Config = CONFIG,
    tailnet: Tailnet | None = None,
    load: LoadWatch | None = None,
    lanes: LaneListener | None = None,
    users: Collection[int] = (99_999,),
) -> Observer:
    """An observer: what is not given is not there. Its files are in `place`."""
    watch = load or LoadWatch(config, clock.boottime)
    return Observer(
        config=config,
        tailnet=tailnet or Tailnet(str(place / "no-socket"), "lo", "example/cap"),
        lanes=lanes or listener(config, watch),
        load=watch,
        pins=Pins(place / "pins.d", place),
        users=frozenset(users),
        server_config=place / "mediamtx.yml",
        changed=lambda: None,
    )


class KnownVpn:
    """Stands for tailscaled, which no unit test has."""

    def __init__(self) -> None:
        self.seen = Vpn("Running", True, OWN, OWN, (), "", False, (), 1.0, (ANN,))

    async def vpn(self, _now: float) -> Vpn:
        """What it is."""
        return self.seen

    def present(self) -> tuple[Address, ...]:
        """What the kernel says of it."""
        return self.seen.present


class Gateway:
    """A gateway with a window's parts, on which all is well until a test changes it; its time stands still.

    `answering` are those who are asked anew by `hear`. `config` changes the site's configuration.
    """

    def __init__(self, place: Path, patch: pytest.MonkeyPatch, **config: Any) -> None:
        self.place, self.now, self.disabled = place, 1000.0, False
        self.answering = {"tailscaled", "kernel"}
        self.switch, self.pinned, self.rendered = place / "off", place / "a.service", place / "mediamtx.yml"
        patch.setattr(clock, "boottime", lambda: self.now)
        patch.setattr("sightglass.observer.SWITCH", str(self.switch))
        patch.setattr(sockets, "read", self._read)
        self.pinned.write_text("as it was installed")
        self.rendered.write_text("as it was rendered")
        (place / "pins.d").mkdir()
        pins = {f"/{self.pinned.name}": hashlib.sha256(self.pinned.read_bytes()).hexdigest()}
        (place / "pins.d" / "all.json").write_text(json.dumps(pins))
        own4, server = str(OWN[0]), USERS["mediamtx"]
        self.listeners = {Listener("tcp", own4, 8554, server), Listener("tcp", "0.0.0.0", 22, 0)}
        allowed = frozenset({Listener("tcp", own4, 8554, server)})
        self.subject = Subject(("cam1",), Purpose.ALIGNMENT, allowed, config_hash(self.rendered.read_text()))
        self.config = Config.model_validate({**GOOD, **config})
        self.tailscaled, self.load = KnownVpn(), LoadWatch(self.config, clock.boottime)
        self.tailnet, self.lanes = cast("Tailnet", self.tailscaled), listener(self.config, self.load)
        self.lanes.lanes.connected = True
        self.say("idle")
        self.observer = observer(
            place,
            config=self.config,
            tailnet=self.tailnet,
            load=self.load,
            lanes=self.lanes,
            users=USERS.values(),
        )
        self.observer.floor = clock.wall() - timedelta(days=1)
        self.hear()
        assert self.said() == {}, "the control of whatever a test changes: all guards pass"

    def _read(self, uids: Collection[int], ports: Collection[int]) -> Sockets:
        theirs = {each for each in self.listeners if each.uid in uids or each.port in ports}
        return Sockets(frozenset(theirs), frozenset())

    def say(self, state: str) -> None:
        """The publisher of the lane tells its state, and lives."""
        lane = self.config.lanes["lane1"]
        self.lanes.take(lane.heartbeat_topic, b"1", retained=False)
        self.lanes.take(lane.state_topic, state.encode(), retained=False)

    def ask(self, **changes: object) -> None:
        """The window is another one."""
        self.subject = dataclasses.replace(self.subject, **changes)  # type: ignore[arg-type]

    def tell(self, **changes: object) -> None:
        """tailscaled says something else of itself."""
        self.tailscaled.seen = dataclasses.replace(self.tailscaled.seen, **changes)  # type: ignore[arg-type]

    def hear(self) -> None:
        """The observer asks anew whoever answers."""
        if "tailscaled" in self.answering:
            asyncio.run(self.observer.refresh())
        if "kernel" in self.answering:
            asyncio.run(self.observer.look())

    def facts(self) -> Facts:
        """What is known now."""
        return self.observer.facts(self.subject, disabled=self.disabled)

    def said(self) -> dict[str, str]:
        """The guards of an opening that do not pass, and their codes."""
        verdicts = guards.opening(self.facts())
        return {verdict.guard: verdict.code for verdict in verdicts if verdict.outcome is not Outcome.PASS}

    def parts(self) -> Parts:
        """What its windows are made of; there is no shutter."""
        feed, console = FeedChannel(USERS["feed"], lambda: None), ConsoleChannel(USERS["console"], lambda: None)
        nowhere = str(self.place / "no-shutter")
        return Parts(self.config, self.observer, self.tailnet, feed, console, USERS, self.place, nowhere)
