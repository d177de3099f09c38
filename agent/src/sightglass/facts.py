"""What was observed, as frozen values. Whatever could not be observed is None, and that is never a pass.

Nor is what nobody gathered: no value that a guard is content with is a default here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sightglass.payload import Unreadable
from sightglass.viewers import Address, Peer


@dataclass(frozen=True, slots=True)
class Vpn:
    """What tailscaled and the kernel say of this node's place in the VPN.

    `present` are the addresses on the VPN interface; `contact_age_s` counts from the last sign of the control plane;
    `unasked` is the number of persons' devices beyond those that tailscaled was asked about.
    """

    state: str
    tun: bool
    own: tuple[Address, ...]
    present: tuple[Address, ...]
    advertised_routes: tuple[str, ...]
    exit_node: str
    ssh_server: bool
    serves: tuple[str, ...]
    contact_age_s: float | None
    peers: tuple[Peer, ...]
    unasked: int = 0


@dataclass(frozen=True, slots=True, order=True)
class Listener:
    """A listening TCP or bound UDP socket of this network namespace: protocol, address as text, port, owner's uid."""

    protocol: str
    address: str
    port: int
    uid: int


@dataclass(frozen=True, slots=True)
class Exposure:
    """Every listener of the host, and what a window may have: `allowed` is exact, `users` and `ports` are ours.

    `config_intact` says whether MediaMTX's configuration is still the one that was rendered for this window, `strange`
    which installed file is not as the roles pinned it, as a sentence; None: each is.
    """

    listeners: frozenset[Listener]
    allowed: frozenset[Listener]
    users: frozenset[int]
    ports: frozenset[int]
    config_intact: bool
    strange: str | None


@dataclass(frozen=True, slots=True)
class Lane:
    """The lane's last state and how old its publisher's last heartbeat is (seconds); None = never seen.

    `trouble` says why the broker is not connected. `state_age_s` is None where the site does not ask for it.
    """

    name: str
    connected: bool
    state: str | Unreadable | None
    heartbeat_age_s: float | None
    safe: frozenset[str]
    max_age_s: float
    state_age_s: float | None
    state_max_age_s: float
    trouble: str | None = None


@dataclass(frozen=True, slots=True)
class Strain:
    """One figure of the site's own work: what, how much (None: not to be had), and the limit in words.

    `since`: the boottime since which it has been beyond the limit, None while it is not; `at`: when it was seen.
    """

    what: str
    seen: float | None
    limit: str
    since: float | None
    at: float


@dataclass(frozen=True, slots=True)
class Clock:
    """The wall clock, and the oldest time that it can rightly show (the newest thing this gateway has seen happen)."""

    wall: datetime
    floor: datetime


@dataclass(frozen=True, slots=True)
class Facts:
    """All that the guards look at, gathered once."""

    disabled: bool
    switched_off: bool
    clock: Clock | None
    vpn: Vpn | None
    exposure: Exposure | None
    lanes: tuple[Lane, ...]
    load: tuple[Strain, ...]
    contact_max_s: float


@dataclass(frozen=True, slots=True)
class NodeHealth:
    """What tailscaled says of itself beside what windows depend on, for the doctor.

    `active` are the nodes that this one has spoken with lately, `relayed` those among them reached over a relay only
    (node to the relay's name). `mtu` is that of the VPN's interface, `uplink` the interface of the default route and
    its MTU; both in bytes, None where there is none.
    """

    key_expiry: datetime | None
    key_expired: bool
    health: tuple[str, ...]
    active: frozenset[str]
    relayed: Mapping[str, str]
    mtu: int | None
    uplink: tuple[str, int | None]
