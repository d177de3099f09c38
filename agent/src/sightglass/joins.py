"""Who joins and who leaves: the auth hook's answers, and what the kernel shows of viewers' connections."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

from sightglass.adapters.hook import Ask
from sightglass.adapters.tailnet import Tailnet, TailnetError
from sightglass.viewers import Address, Peer, refusal
from sightglass.window import Machine, admits

log = logging.getLogger(__name__)

MOST_REFUSALS = 50
"""Refusals recorded in one window; one line a node and reason, so that a client that retries fills no disk."""

RecordFn = Callable[[str, dict[str, Any], dict[str, Any] | None], None]


@dataclass(slots=True)
class Watching:
    """A viewer that was let in. `misses` counts the looks at the socket table without a connection of theirs."""

    peer: Peer
    misses: int = 0


@dataclass(slots=True)
class Joins:
    """The joins of one window. `secret` is the publisher's, new for each window."""

    site: str
    secret: str
    tailnet: Tailnet
    machine: Callable[[], Machine]
    record: RecordFn
    key_frame: Callable[[str], None]
    watching: dict[str, Watching] = field(default_factory=dict)
    refused: set[tuple[str, str]] = field(default_factory=set)

    async def decide(self, ask: Ask) -> bool:
        """MediaMTX asks; anything that is not exactly a publish of the feed or a read of an entitled viewer is a no."""
        window = self.machine().window
        if window is None or ask.camera not in window.cameras or ask.protocol != "rtsp":
            return False
        if ask.action == "publish":
            return ask.user == "feed" and hmac.compare_digest(ask.password.encode(), self.secret.encode())
        if ask.action != "read" or not admits(self.machine()):
            return False
        try:
            peer = await self.tailnet.whois(ip_address(ask.address))
        except (TailnetError, ValueError) as error:
            log.warning("join: refused, the viewer is unknown: %s", error)
            return False
        if peer is None:
            return False
        why = refusal(peer, self.site, window.cameras, window.named)
        # Asked again after the wait for tailscaled: a window that has ended meanwhile lets nobody in.
        if why is None and admits(self.machine()) and self.machine().window is not None:
            self._join(peer)
            self.key_frame(ask.camera)
            return True
        self._refuse(peer, why or "the window has ended")
        return False

    def look(self, connected: frozenset[tuple[int, Address]], port: int) -> bool:
        """Match the let-in viewers with the socket table; returns whether anybody watches. Two misses are a leave."""
        for node, watching in list(self.watching.items()):
            if any((port, address) in connected for address in watching.peer.addresses):
                watching.misses = 0
                continue
            watching.misses += 1
            if watching.misses > 2:
                del self.watching[node]
                self.record("left", {}, _person(watching.peer))
        return bool(self.watching)

    def end(self) -> None:
        """The window is over: whoever still watched has left."""
        for watching in self.watching.values():
            self.record("left", {"cut": True}, _person(watching.peer))
        self.watching.clear()

    def _join(self, peer: Peer) -> None:
        if peer.node not in self.watching:
            self.record("joined", {}, _person(peer))  # on disk before the first byte
        self.watching[peer.node] = Watching(peer)

    def _refuse(self, peer: Peer, why: str) -> None:
        key = (peer.node, why)
        if key in self.refused or len(self.refused) >= MOST_REFUSALS:
            return
        self.refused.add(key)
        self.record("refused", {"what": "join", "why": why}, _person(peer))


def _person(peer: Peer) -> dict[str, Any]:
    return {"user": peer.user, "user_id": peer.user_id, "node": peer.node, "name": peer.name}
