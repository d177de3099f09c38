"""What listens on a gateway, and whose processes run: what is not in the site's list is wrong, wherever it is.

Nothing here opens a window unless that was asked for, and nobody else's is closed.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pytest

from tests.compliance.gateway import WINDOW, Gateway
from tests.compliance.listeners import Listener
from tests.compliance.outcome import NotAssessed

STRANGER_S = 30
# One socket of each kind, on loopback, at a port that the kernel chooses, each as its own family.
STRANGER = """
import os, socket, time
kept = []
for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        try:
            one = socket.socket(family, kind)
            one.bind((address, 0))
        except OSError:
            continue
        kept.append(one)
        if kind == socket.SOCK_STREAM:
            one.listen()
ready = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
ready.connect(os.environ["NOTIFY_SOCKET"])
ready.send(b"READY=1")
time.sleep(60)
"""


def named(strangers: Iterable[Listener]) -> str:
    """All of them in one line."""
    return ", ".join(map(str, sorted(strangers)))


@pytest.mark.control("listeners")
@pytest.mark.requirement("A1")
@pytest.mark.requirement("A2")
@pytest.mark.requirement("N3")
def test_only_what_is_known_listens(gateway: Gateway) -> None:
    """Nothing listens but what the site lists and, while a window is open, its ports on the VPN."""
    state, found = gateway.settled(gateway.listeners)
    strangers = gateway.site.strangers(found)
    # Of nothing but strangers nobody knows whether the list was one.
    if strangers == found:
        raise NotAssessed("ss shows none of the site's own listeners")
    wrong = strangers - (gateway.site.window() if state in ("open", "suspended") else set())
    assert not wrong, f"not in the site's list: {named(wrong)}"


@pytest.mark.control("stranger")
@pytest.mark.requirement("A1")
def test_the_check_sees_a_stranger(gateway: Gateway) -> None:
    """The positive control: listeners planted on loopback for a moment are seen, in each protocol and family."""
    lo = gateway.json("ip -j address show dev lo")
    families = [4, 6] if any(row["local"] == "::1" for link in lo for row in link["addr_info"]) else [4]
    with planted(gateway) as unit:
        seen = {(s.protocol, s.family, s.where) for s in gateway.site.strangers(gateway.listeners()) if s.unit == unit}
    assert seen == {(protocol, family, "loopback") for protocol in ("tcp", "udp") for family in families}, (
        f"of the planted listeners it sees only {sorted(seen)}"
    )


@contextmanager
def planted(gateway: Gateway) -> Iterator[str]:
    """The stranger, as an unprivileged unit that ends with the block, or after STRANGER_S seconds whatever happens."""
    unit = f"compliance-stranger-{secrets.token_hex(4)}.service"
    gateway.output(
        f"systemd-run --quiet --collect --unit={unit} --property=Type=notify --property=RuntimeMaxSec={STRANGER_S}"
        " --uid=nobody -- python3 -c %s",
        STRANGER,
    )
    try:
        yield unit
    finally:
        gateway.run(f"systemctl stop {unit}")


@pytest.mark.control("processes")
@pytest.mark.requirement("N3")
def test_no_process_outside_a_window(gateway: Gateway) -> None:
    """No process of a window's users while it is closed, and while it is open only in their own units."""
    state, rows = gateway.settled(lambda: gateway.output("ps -eo user:32=,unit:64=,comm=").splitlines())
    running = [(fields[0], fields[1], " ".join(fields[2:])) for fields in map(str.split, rows)]
    if not any(user == "sightglass" for user, _, _ in running):
        raise NotAssessed("ps does not show the agent's own process")
    ours = [one for one in running if one[0] in WINDOW]
    wrong = [one for one in ours if state not in ("open", "suspended") or one[1] != f"{one[0]}.service"]
    assert not wrong, f"while {state}: " + ", ".join(f"{comm} of {user} in {unit}" for user, unit, comm in wrong)


@pytest.mark.control("during")
@pytest.mark.opens_a_window
@pytest.mark.requirement("A1")
@pytest.mark.requirement("A2")
@pytest.mark.requirement("N3")
def test_only_the_window_listens_and_only_while_it_is_open(gateway: Gateway) -> None:
    """A window of our own adds its ports on the VPN and the join check on loopback, no more, and leaves nothing."""
    camera = gateway.site.camera()
    with opened(gateway, camera):
        state, found = gateway.settled(gateway.listeners)
        if state != "open":
            raise NotAssessed(f"the window that this check opened is {state}")
        strangers = gateway.site.strangers(found)
        wrong, missing = strangers - gateway.site.window(), gateway.site.window() - strangers
        assert not wrong, f"during a window, not in the site's list: {named(wrong)}"
        assert not missing, f"during a window nothing listens as {named(missing)}"
    state, found = gateway.settled(gateway.listeners)
    if state in ("open", "suspended"):
        raise NotAssessed("a window was opened by somebody else meanwhile")
    left = gateway.site.strangers(found)
    assert not left, f"after the window, not in the site's list: {named(left)}"


@contextmanager
def opened(gateway: Gateway, camera: str) -> Iterator[None]:
    """A debug window of our own, of five minutes if nobody closes it. Never somebody else's: those have other ids."""
    state = gateway.status()["state"]
    if state != "closed":
        raise NotAssessed("a window is open" if state != "disabled" else "windows are disabled")
    code, out, complaints = gateway.run(
        "sightglass open --minutes 5 --purpose debug --camera %s --reason 'the compliance check' --json", camera
    )
    if code:
        raise NotAssessed(f"no window could be opened: {complaints or out}")
    window = json.loads(out)["id"]
    try:
        yield
    finally:
        gateway.run(f"sightglass close --window {window}")
    alive = gateway.until_gone()
    assert not alive, f"after the window there still runs {', '.join(alive)}"
