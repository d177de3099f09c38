"""Who joins and who leaves: the auth hook's answers, and what the kernel shows of viewers' connections."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address
from typing import Any
from urllib.parse import parse_qs

from sightglass.adapters import clock
from sightglass.adapters.hook import Ask
from sightglass.adapters.tailnet import Tailnet, TailnetError
from sightglass.observer import POLL_S
from sightglass.viewers import Address, Needed, Peer, Viewer, refusal
from sightglass.window import Machine, admits

log = logging.getLogger(__name__)

_WAYS = {"rtsp": "player", "webrtc": "page"}
AWAY_S = 2.0
"""A viewer without a connection for so long has left; who is back earlier was never away on the record."""
MOST_VISITS = 200
"""Of one node in one window; a client that comes and goes in a loop must not fill the disk."""
MOST_REFUSALS = 50
"""Refusals recorded in one window; one line a node and reason, so that a client that retries fills no disk."""
UNSEEN_BYTES = 100_000
"""To one who never joined: the page takes 13 kB, three seconds of a picture more. Beyond it the record says so."""
_MOST_KNOWN = 50
"""Answers of tailscaled that are remembered for POLL_S."""

RecordFn = Callable[[str, dict[str, Any], dict[str, Any] | None], None]


@dataclass(slots=True)
class Visit:
    """A viewer that was let in. `away` is the boottime since which no connection of theirs was seen."""

    peer: Peer
    away: float | None = None


@dataclass(slots=True)
class Node:
    """What was recorded of one node in this window: its visits so far, and the bytes of those that are over."""

    visits: int = 0
    sent: int = 0


@dataclass(slots=True)
class Joins:
    """The joins of one window. The secrets are those of feed and console, new for each window.

    `connected` is the kernel's word on whether a viewer is connected to the player's or to the page's port now.
    `unwritten` says why a record could not be written, once that has happened: no room, no window.
    """

    needed: Needed
    own: tuple[Address, ...]
    feed_secret: str
    console_secret: str
    tailnet: Tailnet
    machine: Callable[[], Machine]
    record: RecordFn
    key_frame: Callable[[str], None]
    sent: Callable[[], Mapping[Address, int]]
    connected: Callable[[str, Address], Awaitable[bool]]
    watching: dict[str, Visit] = field(default_factory=dict)
    unwritten: str | None = None
    refused: set[tuple[str, str]] = field(default_factory=set)
    _nodes: dict[str, Node] = field(default_factory=dict)
    _known: dict[Address, tuple[float, Peer | None]] = field(default_factory=dict)

    async def decide(self, ask: Ask) -> bool:
        """MediaMTX asks; anything that is not exactly a publish of the feed or a read of an entitled viewer is a no."""
        if self.machine().window is None or ask.camera not in self.needed.cameras:
            return False
        if ask.action == "publish":
            return self._is_feed(ask)
        if ask.action != "read" or not admits(self.machine()):
            return False
        try:
            viewer = self._viewer(ask)
            if viewer is None:
                return False
            there = await self.connected(_WAYS[ask.protocol], viewer)
            peer = await self._peer(viewer)
        except (TailnetError, ValueError) as error:
            log.warning("join: refused, the viewer is unknown: %s", error)
            return False
        if peer is None:
            return False
        if not there:
            # A stream server or a console that somebody has taken over must not put people on the record.
            log.warning("join: refused, nobody is connected from %s", viewer)
            return False
        why = refusal(peer, self.needed)
        # Asked again after the waits: a window that has ended meanwhile lets nobody in.
        if why is None and not admits(self.machine()):
            why = "the window has ended"
        if why is None and self._nodes.get(peer.node, Node()).visits >= MOST_VISITS and peer.node not in self.watching:
            why = f"the node has joined {MOST_VISITS} times in this window"
        if why is not None:
            self._refuse(peer, why)
            return False
        if not self._join(peer, _WAYS[ask.protocol]):
            return False
        self.key_frame(ask.camera)
        return True

    def _is_feed(self, ask: Ask) -> bool:
        """The feed itself. Its secret alone is no right to publish: a viewer that has come by it is elsewhere."""
        known = ask.protocol == "rtsp" and ask.user == "feed" and _same(ask.password, self.feed_secret)
        return known and ask.address in map(str, self.own)

    async def _peer(self, viewer: Address) -> Peer | None:
        # A viewer that asks in a loop (2 500 times in 6 s were seen) must not take half a core from the parking. What
        # the lease's poll believes for as long, this may believe, too.
        known = self._known.get(viewer)
        if known is None or clock.boottime() > known[0] + POLL_S:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            known = self._known[viewer] = (clock.boottime(), await self.tailnet.whois(viewer))
        return known[1]

    def look(self, connected: frozenset[Address], now: float, counted: float) -> bool:
        """Match the let-in viewers with who is connected; returns whether anybody watches.

        `now` and `counted`, the time of the last count of bytes, are boottimes: a visit ends on the record when its
        bytes have been counted after it was over.
        """
        for node, visit in list(self.watching.items()):
            if not connected.isdisjoint(visit.peer.addresses):
                visit.away = None
                continue
            visit.away = now if visit.away is None else visit.away
            if now >= visit.away + AWAY_S and counted >= visit.away:
                self._leave(node, {})
        return any(visit.away is None for visit in self.watching.values())

    def depart(self, viewer: Viewer, why: str, cut_ms: float | None) -> None:
        """This viewer was cut, because it may not watch any more: within `cut_ms` milliseconds of the order, None when
        nobody has confirmed it."""
        if viewer.node in self.watching:
            self._leave(viewer.node, {"cut": True, "why": why, "cut_ms": cut_ms})
        else:
            self._unseen(viewer)

    def end(self, why: str, viewers: Iterable[Viewer], cut_ms: float | None) -> None:
        """The window is over: whoever still watched has left. `viewers` are those who hold a lease, `cut_ms` is how
        long the cut took."""
        for node in list(self.watching):
            self._leave(node, {"cut": True, "why": why, "cut_ms": cut_ms})
        for viewer in viewers:
            self._unseen(viewer)

    def _unseen(self, viewer: Peer | Viewer) -> None:
        # The kernel's count needs no word of the stream server, which alone tells of joins.
        node = self._nodes.get(viewer.node, Node())
        unseen = self._total(viewer) - node.sent
        if unseen >= UNSEEN_BYTES:
            self._write("left", {"joined": False, "bytes": unseen}, viewer)
            self._nodes[viewer.node] = Node(node.visits, node.sent + unseen)

    def _viewer(self, ask: Ask) -> Address | None:
        """Whose picture it will be: a player's own address, or the one that the console says. None: nobody's."""
        if ask.protocol == "rtsp":
            return _address(ask.address)
        named = parse_qs(ask.query, max_num_fields=4).get("viewer", [])
        believed = ask.user == "console" and _same(ask.password, self.console_secret)
        if ask.protocol != "webrtc" or not believed or len(named) != 1 or _address(ask.address) not in self.own:
            return None
        return _address(named[0])

    def _join(self, peer: Peer, by: str) -> bool:
        visit = self.watching.get(peer.node)
        if visit is not None:
            visit.peer, visit.away = peer, None
            return True
        if peer.node not in self._nodes:
            self._unseen(peer)  # a late join must not take along what nobody told of
        if not self._write("joined", {"by": by}, peer):  # on disk before the first byte
            return False
        node = self._nodes.setdefault(peer.node, Node(sent=self._total(peer)))
        node.visits += 1
        self.watching[peer.node] = Visit(peer)
        return True

    def _leave(self, name: str, data: dict[str, Any]) -> None:
        peer, node = self.watching.pop(name).peer, self._nodes[name]
        total = self._total(peer)
        self._write("left", {**data, "bytes": total - node.sent}, peer)
        node.sent = total

    def _total(self, peer: Peer | Viewer) -> int:
        sent = self.sent()
        return sum(sent.get(address, 0) for address in peer.addresses)

    def _write(self, event: str, data: dict[str, Any], peer: Peer | Viewer) -> bool:
        try:
            self.record(event, data, _person(peer))
        except OSError as error:
            self.unwritten = str(error)
        return self.unwritten is None

    def _refuse(self, peer: Peer, why: str) -> None:
        key = (peer.node, why)
        if key in self.refused or len(self.refused) >= MOST_REFUSALS:
            return
        self.refused.add(key)
        self._write("refused", {"what": "join", "why": why}, peer)


def _same(given: str, secret: str) -> bool:
    # JSON can hold half a surrogate pair, which has no UTF-8.
    return hmac.compare_digest(given.encode(errors="surrogatepass"), secret.encode())


def _address(text: str) -> Address:
    address = ip_address(text)
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        raise ValueError(f"an address with a zone is no VPN address: {text!r}")
    return address


def _person(peer: Peer | Viewer) -> dict[str, Any]:
    return {"user": peer.user, "user_id": peer.user_id, "node": peer.node, "name": peer.name}
