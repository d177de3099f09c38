"""Who may watch: the capability, the viewers named when opening, and rules about the node. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Any, TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address

MOST_VIEWERS = 32
"""A bound on leased peers: two addresses each, and the shutter takes 64."""
MOST_NODES = 8
"""Of one user: somebody with many devices must not take everybody's places."""
MOST_GONE = 64
"""Addresses of viewers that were cut, whose pages are told why; the newest ones."""
REDACTED = "redacted"
"""The privacy level of a picture behind the mosaic; a capability value that names no level covers this one alone."""


@dataclass(frozen=True, slots=True)
class Peer:
    """What tailscaled says of one peer. `values` are those of the capability `view` toward this node.

    `expired`: its key is no longer valid (tailscaled keeps its capabilities then); `expires`: its key will end one day.
    """

    node: str
    name: str
    user: str
    user_id: int
    tagged: bool
    addresses: tuple[Address, ...]
    values: tuple[Any, ...]
    expired: bool = False
    expires: bool = False


@dataclass(frozen=True, slots=True)
class Viewer:
    """A peer that may watch."""

    node: str
    name: str
    user: str
    user_id: int
    addresses: tuple[Address, ...]


@dataclass(frozen=True, slots=True)
class NodeRules:
    """What a site demands of a viewer's device: a key that expires, and to be one of `devices` (empty: any)."""

    key_must_expire: bool = False
    devices: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Needed:
    """What a peer must hold to watch one window. `named` are users; empty: every entitled one."""

    site: str
    cameras: tuple[str, ...]
    privacy: str = REDACTED
    named: frozenset[str] = frozenset()
    rules: NodeRules = NodeRules()


def refusal(peer: Peer, needed: Needed) -> str | None:
    """Why this peer may not watch, or None."""
    if peer.tagged or not peer.user:
        return "a tagged node names no person"
    if not peer.addresses:
        return "the node has no VPN address"
    if peer.expired:
        return "the node's VPN key has expired"
    if needed.rules.key_must_expire and not peer.expires:
        return "the node's VPN key never expires, which this site demands"
    if needed.rules.devices and peer.name not in needed.rules.devices:
        return "the node is not among the devices of this site"
    if not any(_covers(value, needed) for value in peer.values):
        return "no capability for this site, camera and privacy level"
    if needed.named and peer.user not in needed.named:
        return "not among the viewers named when opening"
    return None


def entitled(peers: Iterable[Peer], needed: Needed, holding: Container[str] = ()) -> tuple[Viewer, ...]:
    """The viewers among the peers: the nodes `holding` a lease first, then by user and node.

    At most MOST_VIEWERS, so that a renewal keeps its bound, and MOST_NODES of one user. Nobody loses a place to others.
    """
    may = [peer for peer in peers if refusal(peer, needed) is None]
    found: list[Viewer] = []
    nodes: Counter[str] = Counter()
    for peer in sorted(may, key=lambda peer: (peer.node not in holding, peer.user, peer.node)):
        if len(found) < MOST_VIEWERS and nodes[peer.user] < MOST_NODES:
            found.append(Viewer(peer.node, peer.name, peer.user, peer.user_id, peer.addresses))
            nodes[peer.user] += 1
    return tuple(found)


def remembered(gone: Mapping[Address, str], wanted: Container[Address]) -> dict[Address, str]:
    """Why viewers were cut, of those that were not let in again, as many as the page's server takes."""
    away = [(address, why) for address, why in gone.items() if address not in wanted]
    return dict(away[-MOST_GONE:])


def departure(node: str, peers: Iterable[Peer]) -> str:
    """Why a viewer's node may not watch any more, by name (causes.DEPARTURES), from who is in the VPN now."""
    found = next((peer for peer in peers if peer.node == node), None)
    if found is None:
        return "peer-gone"
    return "node-expired" if found.expired else "capability-gone"


def _covers(value: object, needed: Needed) -> bool:
    """Whether one capability value covers all of it. What is not of the known shape covers nothing."""
    if not isinstance(value, dict):
        return False
    sites, cameras, levels = value.get("sites"), value.get("cameras", ["*"]), value.get("privacy", [REDACTED])
    if not (isinstance(sites, list) and isinstance(cameras, list) and isinstance(levels, list)):
        return False
    return (
        ("*" in sites or needed.site in sites)
        and ("*" in cameras or all(camera in cameras for camera in needed.cameras))
        and needed.privacy in levels
    )
