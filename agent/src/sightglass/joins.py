"""Who joins and who leaves: the auth hook's answers, and what the kernel shows of viewers' connections."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any
from urllib.parse import parse_qs

from sightglass.adapters import clock
from sightglass.adapters.hook import Ask
from sightglass.adapters.tailnet import Tailnet, TailnetError
from sightglass.observer import POLL_S
from sightglass.viewers import Address, Peer, refusal
from sightglass.window import Machine, admits

log = logging.getLogger(__name__)

_WAYS = {"rtsp": "player", "webrtc": "page"}
MOST_REFUSALS = 50
"""Refusals recorded in one window; one line a node and reason, so that a client that retries fills no disk."""
_MOST_KNOWN = 50
"""Answers of tailscaled that are remembered for POLL_S."""

RecordFn = Callable[[str, dict[str, Any], dict[str, Any] | None], None]


@dataclass(slots=True)
class Watching:
    """A viewer that was let in. `before` are the bytes sent to them until then, `misses` counts the looks at the socket
    table without a connection of theirs."""

    peer: Peer
    before: int
    misses: int = 0


@dataclass(slots=True)
class Joins:
    """The joins of one window. The secrets are those of feed and console, new for each window."""

    site: str
    own: tuple[Address, ...]
    feed_secret: str
    console_secret: str
    tailnet: Tailnet
    machine: Callable[[], Machine]
    record: RecordFn
    key_frame: Callable[[str], None]
    sent: Callable[[], Mapping[Address, int]]
    watching: dict[str, Watching] = field(default_factory=dict)
    refused: set[tuple[str, str]] = field(default_factory=set)
    _known: dict[Address, tuple[float, Peer | None]] = field(default_factory=dict)

    async def decide(self, ask: Ask) -> bool:
        """MediaMTX asks; anything that is not exactly a publish of the feed or a read of an entitled viewer is a no."""
        window = self.machine().window
        if window is None or ask.camera not in window.cameras:
            return False
        if ask.action == "publish":
            return ask.protocol == "rtsp" and ask.user == "feed" and _same(ask.password, self.feed_secret)
        if ask.action != "read" or not admits(self.machine()):
            return False
        try:
            viewer = self._viewer(ask)
            peer = None if viewer is None else await self._peer(viewer)
        except (TailnetError, ValueError) as error:
            log.warning("join: refused, the viewer is unknown: %s", error)
            return False
        if peer is None:
            return False
        why = refusal(peer, self.site, window.cameras, window.named)
        # Asked again after the wait for tailscaled: a window that has ended meanwhile lets nobody in.
        if why is None and admits(self.machine()) and self.machine().window is not None:
            self._join(peer, _WAYS[ask.protocol])
            self.key_frame(ask.camera)
            return True
        self._refuse(peer, why or "the window has ended")
        return False

    async def _peer(self, viewer: Address) -> Peer | None:
        # A viewer that asks in a loop (2 500 times in 6 s were seen) must not take half a core from the parking. What
        # the lease's poll believes for as long, this may believe, too.
        known = self._known.get(viewer)
        if known is None or clock.boottime() > known[0] + POLL_S:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            known = self._known[viewer] = (clock.boottime(), await self.tailnet.whois(viewer))
        return known[1]

    def look(self, connected: frozenset[Address]) -> bool:
        """Match the let-in viewers with who is connected; returns whether anybody watches. Two misses are a leave."""
        for node, watching in list(self.watching.items()):
            if not connected.isdisjoint(watching.peer.addresses):
                watching.misses = 0
                continue
            watching.misses += 1
            if watching.misses > 2:
                del self.watching[node]
                self.record("left", {"bytes": self._bytes(watching)}, _person(watching.peer))
        return bool(self.watching)

    def end(self) -> None:
        """The window is over: whoever still watched has left."""
        for watching in self.watching.values():
            self.record("left", {"cut": True, "bytes": self._bytes(watching)}, _person(watching.peer))
        self.watching.clear()

    def _viewer(self, ask: Ask) -> Address | None:
        """Whose picture it will be: a player's own address, or the one that the console says. None: nobody's."""
        if ask.protocol == "rtsp":
            return ip_address(ask.address)
        named = parse_qs(ask.query, max_num_fields=4).get("viewer", [])
        believed = ask.user == "console" and _same(ask.password, self.console_secret)
        if ask.protocol != "webrtc" or not believed or len(named) != 1 or ip_address(ask.address) not in self.own:
            return None
        return ip_address(named[0])

    def _join(self, peer: Peer, by: str) -> None:
        watching = self.watching.get(peer.node)
        if watching is None:
            self.record("joined", {"by": by}, _person(peer))  # on disk before the first byte
        self.watching[peer.node] = Watching(peer, self._total(peer) if watching is None else watching.before)

    def _total(self, peer: Peer) -> int:
        sent = self.sent()
        return sum(sent.get(address, 0) for address in peer.addresses)

    def _bytes(self, watching: Watching) -> int:
        return self._total(watching.peer) - watching.before

    def _refuse(self, peer: Peer, why: str) -> None:
        key = (peer.node, why)
        if key in self.refused or len(self.refused) >= MOST_REFUSALS:
            return
        self.refused.add(key)
        self.record("refused", {"what": "join", "why": why}, _person(peer))


def _same(given: str, secret: str) -> bool:
    return hmac.compare_digest(given.encode(), secret.encode())


def _person(peer: Peer) -> dict[str, Any]:
    return {"user": peer.user, "user_id": peer.user_id, "node": peer.node, "name": peer.name}
