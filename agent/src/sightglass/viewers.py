"""Who may watch: the capability, the viewers named when opening, and rules about the node. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Any, TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address

MOST_VIEWERS = 32
"""A bound on leased peers: two addresses each, and the shutter takes 64."""


@dataclass(frozen=True, slots=True)
class Peer:
    """What tailscaled says of one peer. `values` are those of the capability `view` toward this node."""

    node: str
    name: str
    user: str
    user_id: int
    tagged: bool
    addresses: tuple[Address, ...]
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Viewer:
    """A peer that may watch."""

    node: str
    name: str
    user: str
    user_id: int
    addresses: tuple[Address, ...]


def _covers(value: object, site: str, cameras: Sequence[str]) -> bool:
    """Whether one capability value covers the site and all cameras. What is not of the known shape covers nothing."""
    if not isinstance(value, dict):
        return False
    sites, granted = value.get("sites"), value.get("cameras", ["*"])
    if not isinstance(sites, list) or not isinstance(granted, list):
        return False
    return ("*" in sites or site in sites) and ("*" in granted or all(camera in granted for camera in cameras))


def refusal(peer: Peer, site: str, cameras: Sequence[str], named: frozenset[str]) -> str | None:
    """Why this peer may not watch these cameras, or None."""
    if peer.tagged or not peer.user:
        return "a tagged node names no person"
    if not peer.addresses:
        return "the node has no VPN address"
    if not any(_covers(value, site, cameras) for value in peer.values):
        return "no capability for this site and camera"
    if named and peer.user not in named:
        return "not among the viewers named when opening"
    return None


def entitled(peers: Iterable[Peer], site: str, cameras: Sequence[str], named: frozenset[str]) -> tuple[Viewer, ...]:
    """The viewers among the peers, by user and node; at most MOST_VIEWERS, so that a renewal keeps its bound."""
    may = [
        Viewer(peer.node, peer.name, peer.user, peer.user_id, peer.addresses)
        for peer in peers
        if refusal(peer, site, cameras, named) is None
    ]
    return tuple(sorted(may, key=lambda viewer: (viewer.user, viewer.node))[:MOST_VIEWERS])
