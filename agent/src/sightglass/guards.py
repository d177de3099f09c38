"""The guards: pure functions from observed facts to a verdict. The default is never a pass.

Each guard answers for one promise. `STANDING` are those that a renewal needs, `OPENING` those that an opening needs;
the lane stands apart because a window may have several, and because it suspends an open window and never ends it
(window.SUSPENDING).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import TypeAlias

from sightglass.facts import Facts, Lane, Listener
from sightglass.payload import Unreadable
from sightglass.verdict import Verdict, failed, passed, unknown

Guard: TypeAlias = Callable[[Facts], Verdict]

SWITCH = "/etc/sightglass/off"
"""While this file is there, whatever is in it, windows are off: for hands, buttons and scripts at the site."""
LOAD_S = 3.0
"""How long a figure of the site's own work may be beyond its limit."""


def enabled(facts: Facts) -> Verdict:
    """Nobody has disabled windows on this gateway."""
    if facts.switched_off:
        return failed("enabled", "switch", f"the switch at the gateway is set: {SWITCH} is there")
    if facts.disabled:
        return failed(
            "enabled", "disabled", "windows are disabled on this gateway: `sightglass status` says by whom and why"
        )
    return passed("enabled", "windows are enabled")


def time(facts: Facts) -> Verdict:
    """The clock is set, so that the record's times mean something. Deadlines do not depend on it."""
    if facts.clock is None:
        return unknown("time", "time-unknown", "the clock could not be read")
    if facts.clock.wall < facts.clock.floor - timedelta(minutes=5):
        return failed(
            "time",
            "clock-not-set",
            f"the clock shows {facts.clock.wall:%Y-%m-%d %H:%M} UTC, and the newest receipt is of "
            f"{facts.clock.floor:%Y-%m-%d %H:%M}: set the clock; if it was wrong then, disable and enable windows",
        )
    return passed("time", f"the clock shows {facts.clock.wall:%Y-%m-%d %H:%M} UTC")


def vpn(facts: Facts) -> Verdict:
    """The stream can be confined to the VPN: a running tailscaled on a real TUN that opens nothing to others."""
    seen = facts.vpn
    if seen is None:
        return unknown("vpn", "tailscaled-gone", "tailscaled does not answer")
    if seen.state != "Running":
        return failed("vpn", "vpn-down", f"tailscaled is not running the VPN (its state is {seen.state})")
    if not seen.tun:
        return failed(
            "vpn", "not-vpn-only", "tailscaled runs without a TUN device: every peer would look like loopback"
        )
    if not seen.own:
        return failed("vpn", "vpn-down", "tailscaled reports no VPN address")
    missing = [str(address) for address in seen.own if address not in seen.present]
    if missing:
        # The kernel takes the addresses away with the TUN, and that lives as long as tailscaled does.
        return failed("vpn", "tailscaled-gone", f"the VPN address {missing[0]} is not on the VPN interface")
    if seen.serves:
        return failed("vpn", "not-vpn-only", f"tailscaled publishes {seen.serves[0]} (serve or Funnel): switch it off")
    if seen.advertised_routes:
        return failed("vpn", "not-vpn-only", f"the gateway advertises the route {seen.advertised_routes[0]}")
    if seen.exit_node:
        return failed("vpn", "not-vpn-only", "the gateway uses an exit node")
    if seen.ssh_server:
        return failed("vpn", "not-vpn-only", "tailscaled's own ssh server is on")
    beside = f"; {seen.unasked} persons' devices more than can be asked about" if seen.unasked else ""
    return passed("vpn", f"running on a TUN as {seen.own[0]}{beside}")


def contact(facts: Facts) -> Verdict:
    """The control plane was heard of lately: without it nobody learns who may not watch any more."""
    if facts.vpn is None or facts.vpn.contact_age_s is None:
        return unknown("contact", "control-unknown", "nothing was heard of the VPN's control plane yet")
    age = facts.vpn.contact_age_s
    if age > facts.contact_max_s:
        return failed("contact", "control-silent", f"the VPN's control plane has been silent for {age:.0f} s")
    return passed("contact", f"the VPN's control plane was heard of {age:.0f} s ago")


def exposure(facts: Facts) -> Verdict:
    """Closed world: our users listen on what a window needs and on nothing else, and nobody else has our ports."""
    seen = facts.exposure
    if seen is None:
        return unknown("exposure", "exposure-unknown", "the listening sockets could not be read")
    if not seen.config_intact:
        return failed("exposure", "exposure", "MediaMTX's configuration is not the one of this window")
    if seen.strange is not None:
        return failed("exposure", "exposure", seen.strange)
    strangers = sorted(
        listener
        for listener in seen.listeners - seen.allowed
        if listener.uid in seen.users or (listener.port in seen.ports and _reachable(listener))
    )
    if strangers:
        return failed("exposure", "exposure", f"{_name(strangers[0])} must not listen")
    return passed("exposure", "nothing listens but what the window needs")


def lane(seen: Lane) -> Verdict:
    """The lane is safe, from fresh data: a retained state counts while its publisher's heartbeat is fresh."""
    if not seen.connected:
        why = "" if seen.trouble is None else f": {seen.trouble}"
        return unknown("lane", "lane-unknown", f"{seen.name}: the MQTT broker is not connected{why}")
    if seen.heartbeat_age_s is None:
        return unknown("lane", "lane-unknown", f"{seen.name}: no heartbeat of its publisher was seen yet")
    if seen.heartbeat_age_s > seen.max_age_s:
        return unknown(
            "lane",
            "lane-unknown",
            f"{seen.name}: the last heartbeat is {seen.heartbeat_age_s:.0f} s old (at most {seen.max_age_s:.0f} s)",
        )
    if isinstance(seen.state, Unreadable):
        return unknown("lane", "lane-unknown", f"{seen.name}: {seen.state}")
    if seen.state is None:
        return unknown("lane", "lane-unknown", f"{seen.name}: its state was never published")
    if seen.state_age_s is not None and seen.state_age_s > seen.state_max_age_s:
        why = f"its state is {seen.state_age_s:.0f} s old (at most {seen.state_max_age_s:.0f} s)"
        return unknown("lane", "lane-unknown", f"{seen.name}: {why}")
    if seen.state not in seen.safe:
        return failed("lane", "lane", f"{seen.name} is {seen.state!r}, safe is {' or '.join(sorted(seen.safe))}")
    return passed("lane", f"{seen.name} is {seen.state!r}")


def load(facts: Facts) -> Verdict:
    """The site's own work goes on as the site demands: the picture is the guest."""
    for strain in facts.load:
        if strain.seen is None:
            return unknown("load", "load-unknown", f"{strain.what} is not known")
        if strain.since is not None and strain.at >= strain.since + LOAD_S:
            lasting = f"for {strain.at - strain.since:.0f} s, the site demands {strain.limit}"
            return failed("load", "load", f"{strain.what} has been beyond its limit {lasting}; it is {strain.seen:g}")
    return passed("load", "; ".join(f"{strain.what} is {strain.seen:g}" for strain in facts.load) or "no limit is set")


def _reachable(listener: Listener) -> bool:
    return not listener.address.startswith("127.") and listener.address != "::1"


def _name(listener: Listener) -> str:
    where = f"[{listener.address}]" if ":" in listener.address else listener.address
    return f"{listener.protocol} {where}:{listener.port} (uid {listener.uid})"


STANDING: Mapping[str, Guard] = MappingProxyType(
    {"enabled": enabled, "vpn": vpn, "contact": contact, "exposure": exposure, "load": load}
)
OPENING: Mapping[str, Guard] = MappingProxyType({**STANDING, "time": time})


def during(facts: Facts) -> tuple[Verdict, ...]:
    """What is asked all the time while a window lives: what each renewal needs, in order, then the lanes."""
    return (*(guard(facts) for guard in STANDING.values()), *(lane(seen) for seen in facts.lanes))


def opening(facts: Facts) -> tuple[Verdict, ...]:
    """What an opening needs, in order, then the lanes; a window without a lane to judge does not open."""
    lanes = tuple(lane(seen) for seen in facts.lanes)
    none = unknown("lane", "lane-unknown", "no lane belongs to the cameras asked for")
    return (*(guard(facts) for guard in OPENING.values()), *(lanes or (none,)))
