"""The VPN's parts: running, contact, key, messages, packet sizes, who may watch and by which way. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from sightglass import guards
from sightglass.doctor.finding import Finding, fail, ok, unknown, warn
from sightglass.facts import Facts, NodeHealth, Vpn
from sightglass.verdict import Outcome

KEY_NEAR = timedelta(days=14)
"""Before its end a key is named: a technician's next visit may be as far away."""
LEAST_MTU = 1280
"""Of the VPN's interface. The kernel takes the IPv6 addresses away below it, and tailscaled makes it so."""
LEAST_UPLINK = LEAST_MTU + 80
"""WireGuard puts 60 bytes before a packet over IPv4, 80 over IPv6."""
_BY_STATE = {
    "NeedsLogin": "log in: `sudo tailscale up` and open the address it prints, or run site.yml with a new auth key",
    "Stopped": "switch the VPN on: `sudo tailscale up`",
    "NeedsMachineAuth": "let an administrator of the VPN approve this machine in its console",
    "Starting": "wait some seconds and ask again; if it stays, check the uplink with `tailscale netcheck`",
    "NoState": "wait some seconds and ask again; if it stays, `sudo systemctl restart tailscaled`",
}
_RESTART = "start it: `sudo systemctl restart tailscaled`, then `systemctl status tailscaled`"


def vpn(facts: Facts, doubt: str | None) -> Finding:
    """The guard; `doubt` says why tailscaled has not answered."""
    said = guards.vpn(facts)
    seen = facts.vpn
    if seen is None:
        return fail("vpn", doubt or said.why, _RESTART)
    if said.outcome is Outcome.PASS:
        return ok("vpn", said.why)
    return fail("vpn", said.why, _open_to_others(seen) if said.code == "not-vpn-only" else _down(seen))


def _down(seen: Vpn) -> str:
    if seen.state != "Running":
        return _BY_STATE.get(seen.state, _RESTART)
    return _RESTART


def _open_to_others(seen: Vpn) -> str:
    steps = [
        (not seen.tun, "start tailscaled without --tun=userspace-networking"),
        (bool(seen.serves), "`sudo tailscale serve reset` and `sudo tailscale funnel reset`"),
        (bool(seen.advertised_routes), "`sudo tailscale set --advertise-routes= --advertise-exit-node=false`"),
        (bool(seen.exit_node), "`sudo tailscale set --exit-node=`"),
        (seen.ssh_server, "`sudo tailscale set --ssh=false`"),
    ]
    return ", then ".join(text for wrong, text in steps if wrong)


def contact(facts: Facts) -> Finding:
    """The guard of the control plane."""
    said = guards.contact(facts)
    if said.outcome is Outcome.PASS:
        return ok("control plane", said.why)
    if facts.vpn is None or facts.vpn.state != "Running":
        return unknown("control plane", said.why, "mend the VPN first")
    do = "check the uplink and its firewall: `tailscale netcheck` must reach the control plane and a relay"
    return (fail if said.outcome is Outcome.FAIL else unknown)("control plane", said.why, do)


def key(standing: NodeHealth | None, now: datetime) -> Finding:
    """This gateway's own key."""
    if standing is None:
        return unknown("vpn key", "tailscaled does not say when this gateway's key ends", "mend the VPN first")
    anew = "`sudo tailscale up --force-reauth` at the gateway, or give it a tag, whose key does not expire"
    if standing.key_expired:
        return fail("vpn key", "this gateway's VPN key has expired", f"log in again: {anew}")
    if standing.key_expiry is None:
        return ok("vpn key", "it does not expire")
    left = standing.key_expiry - now
    day = f"{standing.key_expiry:%Y-%m-%d %H:%M} UTC"
    if left <= timedelta(0):
        return fail("vpn key", f"this gateway's VPN key expired on {day}", f"log in again: {anew}")
    if left < KEY_NEAR:
        whole = f"this gateway's VPN key expires on {day}, in {left.days} days: nobody reaches it then"
        return warn("vpn key", whole, f"renew it while the VPN still works: {anew}")
    return ok("vpn key", f"it expires on {day}, in {left.days} days")


def health(standing: NodeHealth | None) -> Finding:
    """What tailscaled itself complains of."""
    if standing is None:
        return unknown("vpn health", "tailscaled does not say what it complains of", "mend the VPN first")
    if not standing.health:
        return ok("vpn health", "tailscaled complains of nothing")
    do = "mend what it names; `tailscale status` shows it again, `tailscale netcheck` looks at the uplink"
    return warn("vpn health", f"tailscaled says: {'; '.join(standing.health)}", do)


def mtu(standing: NodeHealth | None, interface: str) -> Finding:
    """Sizes of packets on the VPN's interface and on the uplink below it."""
    if standing is None or standing.mtu is None:
        return unknown("mtu", f"the packet size of {interface} could not be read", "mend the VPN first")
    back = f"`sudo ip link set dev {interface} mtu {LEAST_MTU}`, then `sudo systemctl restart tailscaled`"
    if standing.mtu < LEAST_MTU:
        whole = f"{interface} takes packets of {standing.mtu} bytes: pictures need {LEAST_MTU}, and IPv6 ends below it"
        return fail("mtu", whole, f"set it back: {back}")
    if standing.mtu > LEAST_MTU:
        whole = f"{interface} takes packets of {standing.mtu} bytes: more than {LEAST_MTU} is lost on many ways"
        return warn("mtu", whole, f"unless you know every way to be wider, set it back: {back}")
    name, size = standing.uplink
    if size is not None and size < LEAST_UPLINK:
        whole = f"the uplink {name} takes packets of {size} bytes, a full one of the VPN needs {LEAST_UPLINK}"
        return warn("mtu", f"{whole}: each is cut in two", f"raise the MTU of {name} if the line allows it")
    beside = "" if size is None else f", its uplink {name} {size}"
    return ok("mtu", f"{interface} takes packets of {standing.mtu} bytes{beside}")


def may_watch(devices: int, users: int, site: str, capability: str, known: bool) -> Finding:
    """How many could watch here: by count alone, for names are nobody's business here."""
    if not known:
        return unknown("viewers", "who may watch here is not known", "mend the VPN first")
    if devices == 0:
        do = (
            f'grant {capability} with {{"sites": ["{site}"]}} to somebody in the VPN\'s policy, for this gateway\'s tag'
        )
        return warn("viewers", "nobody in the VPN may watch here", do)
    count = f"{devices} device{'s' * (devices != 1)} of {users} person{'s' * (users != 1)}"
    return ok("viewers", f"{count} may watch here")


def path(standing: NodeHealth | None, may: frozenset[str]) -> Finding:
    """Whether those who could watch, and speak with this gateway now, are reached directly. `may`: their nodes."""
    if standing is None:
        return unknown("vpn path", "by which way viewers are reached is not known", "mend the VPN first")
    active = standing.active & may
    relayed = {node: relay for node, relay in standing.relayed.items() if node in active}
    if relayed:
        names = ", ".join(sorted(set(relayed.values())))
        whole = (
            f"{len(relayed)} of {len(active)} active viewers' devices are reached over the relay {names}: "
            "more delay, and a picture that stutters when the relay is busy"
        )
        do = "let UDP out of this site (from port 41641, and to 3478), or give the VPN a relay that is near"
        return warn("vpn path", whole, do)
    if not active:
        return ok("vpn path", "no viewer's device speaks with this gateway now")
    return ok("vpn path", f"{len(active)} active viewers' devices are reached directly")
