"""The site's parts: broker, lanes, cameras, ports, load. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sightglass import guards
from sightglass.doctor.finding import Finding, fail, of_guard, ok, unknown, warn
from sightglass.facts import Facts, Lane, Listener
from sightglass.payload import Unreadable
from sightglass.verdict import Outcome

SILENT_S = 2.0
"""A broker that takes so long to answer is as good as gone."""
_BROKER = (
    (
        ("mqtt.password_file", "mqtt.ca_file"),
        "run site.yml, which puts the file there (sightglass_agent_mqtt_password_file, …_mqtt_ca_file)",
    ),
    (("refused", "errno 111"), "start the broker there, or mend mqtt.host and mqtt.port (sightglass_agent_mqtt)"),
    (
        ("not authori", "bad user", "password", "identifier"),
        "give the agent a user and password that the broker knows, and let that user read the lanes' topics",
    ),
    (("ssl", "tls", "certificate"), "compare TLS on both sides: the port, the CA, and the name in the certificate"),
    (
        ("not permitted", "errno 1]", "permission denied"),
        "name the broker's address in sightglass_agent_ip_allow and run site.yml: the agent's sandbox refuses others",
    ),
    (("name or service", "name resolution", "nodename"), "mend mqtt.host: this gateway cannot resolve that name"),
    (("messages a second",), "let the lanes' publishers send less: at most 200 messages a second on all topics"),
)


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at a camera's URL brought: pictures, their size, in so many seconds; or why it brought none."""

    pictures: int = 0
    size: tuple[int, int] | None = None
    seconds: float = 0.0
    trouble: str | None = None


def broker(where: str, connected: bool, trouble: str | None, round_trip_s: float | None) -> Finding:
    """The connection to the site's broker; `where` is host and port."""
    if connected and round_trip_s is not None and round_trip_s >= SILENT_S:
        do = f"look at the broker's log and at what keeps it busy; nothing else is wrong with the way to {where}"
        return fail("broker", f"{where} is connected and has not answered for {round_trip_s:.0f} s", do)
    if connected and round_trip_s is not None:
        return ok("broker", f"connected to {where}, it answers in {round_trip_s * 1000:.0f} ms")
    if connected:
        return unknown("broker", f"{where} was lost while it was asked", "ask again in some seconds")
    if trouble is None:
        return unknown("broker", f"not connected to {where} yet", "ask again in some seconds")
    low = trouble.lower()
    for words, do in _BROKER:
        if any(word in low for word in words):
            return fail("broker", f"{where}: {trouble}", do)
    return fail("broker", f"{where}: {trouble}", f"look whether a broker answers at {where}, and at its log")


def lane(seen: Lane, debug: frozenset[str], state_topic: str, heartbeat_topic: str) -> Finding:
    """One lane, judged as for `alignment`; `debug` are the states that are safe for that purpose.

    A lane that is busy is no fault: it warns.
    """
    said, part = guards.lane(seen), f"lane {seen.name}"
    if said.outcome is Outcome.PASS:
        return ok(part, said.why)
    if not seen.connected:
        return unknown(part, said.why, "mend the broker first")
    if seen.heartbeat_age_s is None or seen.heartbeat_age_s > seen.max_age_s:
        do = f"start the lane's publisher, or mend heartbeat_topic, which is {heartbeat_topic}"
        return (unknown if seen.heartbeat_age_s is None else fail)(part, said.why, do)
    if isinstance(seen.state, Unreadable):
        return fail(part, said.why, f"compare state_path with what is published on {state_topic}")
    if seen.state is None:
        return fail(part, said.why, f"mend state_topic, which is {state_topic}, or let its publisher retain the state")
    if said.outcome is Outcome.UNKNOWN:
        return fail(part, said.why, f"let the publisher repeat its state on {state_topic}, or raise state_max_age_s")
    if seen.state in debug:
        return warn(part, said.why, "wait until the lane is clear; for `debug` a window opens already")
    return warn(part, said.why, "wait until the lane is clear")


def camera(name: str, host: str, near: bool, feed_may: bool, look: Look | None, shown: str | None) -> Finding:
    """One camera: `host` with its port, `near` when it is this gateway itself, `feed_may` when the kernel gate lets the
    feed go there. `shown`: what the feed of an open window says of it, which then has the camera."""
    part = f"camera {name}"
    if shown == "live":
        return ok(part, f"a window shows it now, from {host}")
    if shown is not None:
        do = "ask again when the window has ended: nobody else opens a camera meanwhile"
        return warn(part, f"not looked at, for a window is open (its feed: {shown or 'nothing'})", do)
    if not near:
        do = f"serve it as MJPEG on this gateway's own loopback, and let cameras.{name}.url name that"
        return fail(part, f"{host} is not on this gateway, and the feed may reach nothing else", do)
    if look is None:
        return unknown(part, f"{host} could not be looked at in time", "ask again; if it stays, look at that server")
    if look.trouble is not None:
        return fail(part, f"{host}: {look.trouble}", _camera(name, look.trouble))
    if not feed_may:
        do = "run site.yml, so that the kernel gate knows this source (sightglass_nftables_feed_sources)"
        return fail(part, f"{host} sends pictures, and the kernel gate does not let the feed go there", do)
    if look.size is None:
        return fail(part, f"{host} sends parts that are no JPEG", f"let cameras.{name}.url name an MJPEG stream")
    rate = look.pictures / look.seconds if look.seconds > 0 else 0.0
    size = f"{look.size[0]}x{look.size[1]}"
    if look.pictures < 2:
        do = "look at the camera's server: a picture that does not change counts as gone after 2 s"
        return fail(part, f"{host} sent one picture of {size} in {look.seconds:.1f} s", do)
    return ok(part, f"{host} sends {size}, some {rate:.0f} pictures a second")


def _camera(name: str, trouble: str) -> str:
    low, field = trouble.lower(), f"cameras.{name}.url"
    if "refused" in low:
        return f"start the camera's server, or mend the port in {field}"
    if "answers" in low:
        return f"mend the path in {field}, and what its server asks for (the feed sends no password)"
    if "content-type" in low or "part" in low or "head" in low:
        return f"let {field} name an MJPEG stream (multipart/x-mixed-replace), not a page or a single picture"
    if "resol" in low or "name or service" in low:
        return f"mend the host in {field}"
    return f"look at the server behind {field}: it must send a new picture at least every 2 s"


def ports(
    listeners: Sequence[Listener], window: Mapping[int, str], hook: int, units: Mapping[tuple[str, int], str]
) -> Finding:
    """Whether somebody else has a window's port. `window` says what each is for, `units` who listens where known."""
    taken = [
        listener
        for listener in sorted(listeners)
        if (listener.port in window and not _loopback(listener))
        or (listener.port == hook and (_loopback(listener) or listener.address in ("0.0.0.0", "::")))
    ]
    if not taken:
        every = ", ".join(str(port) for port in sorted((*window, hook)))
        return ok("ports", f"nobody else listens on {every}")
    first = taken[0]
    who = units.get((first.protocol, first.port)) or f"uid {first.uid}"
    use = window.get(first.port, "the join check")
    more = f"; and {len(taken) - 1} more" if len(taken) > 1 else ""
    whole = f"{who} listens on {first.protocol} {first.address}:{first.port}, which a window needs for {use}{more}"
    return fail("ports", whole, f"stop {who}, or let it listen on another port than {first.port}")


def _loopback(listener: Listener) -> bool:
    return listener.address.startswith("127.") or listener.address == "::1"


def load(facts: Facts) -> Finding:
    """The guard."""
    failed = "find what slows the site's own work: `systemd-cgtop`, `top`"
    doubtful = "compare load.unit and the lanes' fps_path with what this gateway has"
    return of_guard("load", guards.load(facts), failed, doubtful)
