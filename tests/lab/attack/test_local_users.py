"""A user of the gateway without rights, and each of our own users outside its sandbox, while a window is open."""

from __future__ import annotations

import base64
import contextlib
import json
from typing import Any

import pytest

from tests.lab.attack.attempts import elsewhere, failed, others, ours
from tests.lab.attack.intruder import OURS, Attempt, as_user
from tests.lab.attack.viewing import ANNOUNCED, Rtsp
from tests.lab.window.site_under_test import Site

USERS = ("nobody", "parking", *(f"sightglass-{unit}" for unit in OURS))
# One socket each: the feed's own channel is answered by a hang-up, since the feed is there.
CHANNELS = ("agent", "shutter", "feed", "console")
# The secrets of a window, as they stand in the memory of who holds them, and as the publisher's address has it.
_SECRETS = """
import json, re, sys
found = set()
for line in open(f"/proc/{sys.argv[1]}/maps"):
    place, rights = line.split()[:2]
    if not rights.startswith("rw"):
        continue
    start, end = (int(part, 16) for part in place.split("-"))
    with open(f"/proc/{sys.argv[1]}/mem", "rb", 0) as memory:
        try:
            memory.seek(start)
            text = memory.read(end - start)
        except OSError:
            continue
    found |= {each.decode() for each in re.findall(rb"rtsp://feed:([A-Za-z0-9_-]{32})@", text)}
print(json.dumps(sorted(found)))
"""
# Every command line and environment that this user may read, and whether a text is in one.
_PROCESSES = """
import json, os, sys
looked, found = 0, []
for pid in filter(str.isdigit, os.listdir("/proc")):
    for name in ("cmdline", "environ"):
        try:
            text = open(f"/proc/{pid}/{name}", "rb").read()
        except OSError:
            continue
        looked += 1
        if sys.argv[1].encode() in text and int(pid) != os.getpid():
            found.append(f"{pid} {name}")
print(json.dumps([looked, found]))
"""


@pytest.mark.requirement("A1")
@pytest.mark.requirement("O1")
@pytest.mark.parametrize("user", USERS)
def test_a_user_gets_at_nothing_of_a_window(opened: Site, user: str) -> None:
    """No channel, unit, process, port or file of ours but its own; root gets at all of them (the control)."""
    unit = user.removeprefix("sightglass-")
    doors = ours(opened)
    allowed = {"feed": {"player", "camera"}, "mediamtx": {"hook"}, "console": {"offers"}}.get(unit, set())
    doors.pop("camera")  # the site's own service, which answers everybody
    status = "GET /v1/status HTTP/1.0\r\nHost: agent\r\n\r\n"
    forbidden: list[Attempt] = [
        *(("unix", f"/run/sightglass-{name}.sock", status) for name in CHANNELS),
        ("unix", "/run/systemd/private"),
        ("run", "systemctl", "start", "sightglass-feed.service"),
        ("run", "systemctl", "start", "sightglass-off.service"),
        ("run", "systemctl", "set-environment", "MTX_API=yes"),
        ("run", "nft", "list", "ruleset"), ("run", "tailscale", "set", "--advertise-routes=10.0.0.0/8"),
        ("run", "tailscale", "serve", "--bg", "--tcp", "9999", "tcp://127.0.0.1:8554"),
        ("sockets", "AF_PACKET", "SOCK_RAW", 3), ("sockets", "AF_INET", "SOCK_RAW", 1),
        ("write", "/etc/sightglass/agent.json"), ("read", "/etc/sightglass/agent.json"),
        ("read", "/var/lib/sightglass"), ("read", "/run/sightglass"), ("read", "/var/lib/sightglass/receipts"),
        *([("read", "/run/credentials/sightglass-mediamtx.service")] if unit != "mediamtx" else []),
        ("listen", "127.0.0.1", 8800), ("listen", "0.0.0.0", 8800), ("listen", str(opened.gateway.vpn4), 8554),
        *others(opened, unit if unit in OURS else None),
        *(door for name, door in doors.items() if name not in allowed),
    ]  # fmt: skip
    if unit in OURS:
        forbidden += elsewhere(opened) if unit != "shutter" else []
    outcomes = as_user(opened.gateway, user, [*forbidden, ("tcp", str(opened.gateway.wan4), 22)])
    assert failed(outcomes[:-1], forbidden) == []
    assert unit in ("feed", "mediamtx", "console") or outcomes[-1] == "done", "the control: it may use the network"


@pytest.mark.requirement("A1")
def test_root_gets_at_what_a_user_does_not(opened: Site) -> None:
    """The control of the test above, for what root may do and leaves as it is."""
    attempts: list[Attempt] = [
        ("unix", "/run/sightglass-agent.sock", "GET /v1/status HTTP/1.0\r\nHost: agent\r\n\r\n"),
        ("unix", "/run/systemd/private"), ("run", "nft", "list", "ruleset"),
        ("run", "systemctl", "set-environment", "INTRUDER=1"), ("run", "systemctl", "unset-environment", "INTRUDER"),
        ("run", "tailscale", "set", "--advertise-routes="),
        ("sockets", "AF_PACKET", "SOCK_RAW", 3), ("sockets", "AF_INET", "SOCK_RAW", 1),
        ("write", "/etc/sightglass/agent.json"), ("read", "/var/lib/sightglass"), ("read", "/run/sightglass"),
        ("read", "/run/credentials/sightglass-mediamtx.service"), ("listen", "127.0.0.1", 8801),
        *others(opened, None),
    ]  # fmt: skip
    refused = [a for a, o in zip(attempts, as_user(opened.gateway, None, attempts), strict=True) if o[:2] == "no"]
    assert refused == []


def secret(site: Site) -> str:
    """The publisher's secret of the open window, from the feed's memory."""
    done = site.gateway.run(["python3", "-c", _SECRETS, str(site.pid("feed"))])
    found: list[str] = json.loads(done.stdout)
    assert len(found) == 1, "root finds the one secret where it must be"
    return found[0]


@pytest.mark.requirement("A5")
@pytest.mark.requirement("P2")
def test_a_windows_secret_is_in_no_place_that_others_read(opened: Site) -> None:
    """No command line, no environment, no log, no receipt, no file; the feed's memory has it (the control)."""
    word = secret(opened)
    for user in (None, "nobody"):
        done = opened.gateway.run(["python3", "-c", _PROCESSES, word], user=user)
        looked, found = json.loads(done.stdout)
        assert (looked > 10, found) == (True, [])
    known = opened.gateway.run(["python3", "-c", _PROCESSES, "--channel"], user="nobody")
    assert len(json.loads(known.stdout)[1]) >= 2, "the control: what stands in a command line is found by nobody"
    places = ["/etc", "/run", "/tmp", "/var/lib", "/var/tmp", "/var/log"]
    searched = opened.gateway.run(["grep", "-rlaF", "-s", "--devices=skip", word, *places], check=False)
    # grep says 2 for sockets and what is gone meanwhile.
    assert searched.stdout == ""
    control = opened.gateway.run(["grep", "-rlaF", "-s", "--devices=skip", "authHTTPAddress", *places], check=False)
    assert "/run/sightglass/mediamtx.yml" in control.stdout.split(), "the control: a word of the configuration is found"


@pytest.mark.requirement("A5")
@pytest.mark.requirement("P4")
def test_only_the_feed_with_its_secret_publishes_and_it_reads_nothing(opened: Site) -> None:
    """Over lo, where the player's port is: without the secret the feed's user announces nothing, with it it does (the
    control); nobody may read there, and no other user gets as far as a question."""
    word = base64.b64encode(f"feed:{secret(opened)}".encode()).decode()
    wrong = base64.b64encode(b"feed:wrong").decode()
    sdp = {"Content-Type": "application/sdp"}
    asks = [
        ("DESCRIBE", {}, "", 401), ("DESCRIBE", {"Authorization": f"Basic {word}"}, "", 401),
        ("ANNOUNCE", sdp, ANNOUNCED, 401), ("ANNOUNCE", sdp | {"Authorization": f"Basic {wrong}"}, ANNOUNCED, 401),
        ("ANNOUNCE", sdp | {"Authorization": f"Basic {word}"}, ANNOUNCED, 200),
    ]  # fmt: skip
    for method, headers, body, status in asks:
        with contextlib.closing(Rtsp(opened.gateway, opened.gateway, "sightglass-feed")) as feed:
            assert feed.ask(method, "/cam1", headers, body)["status"] == status, (method, headers)
    for user in ("nobody", "sightglass-console", "sightglass-mediamtx", "parking"):
        assert as_user(opened.gateway, user, [ours(opened)["player"]]) == ["no: ECONNREFUSED Connection refused"], user


@pytest.mark.requirement("A2")
def test_tailscaled_dials_for_anybody_but_not_to_this_gateway(opened: Site) -> None:
    """Its socket is open to all, and it is root: to the gateway's own IPv4 addresses who asks shall dial;
    to the own IPv6 address it dials, and is refused at our ports and not at ssh (the control)."""
    own, own6 = str(opened.gateway.vpn4), str(opened.gateway.vpn6)
    doors = [(own, 8554), (f"::ffff:{own}", 8554), ("gw1", 8889), ("127.0.0.1", 8800)]
    doors6 = [(own6, 8554), (own6, 8550), (own6, 8889), (own6, 8189), (own6, 22)]
    outcomes = as_user(opened.gateway, "nobody", [("dial", *door) for door in (*doors, *doors6)])
    assert outcomes[: len(doors)] == ["done: yourself"] * len(doors)
    *refused, ssh = outcomes[len(doors) :]
    assert {outcome[:16] for outcome in refused} <= {"no: ECONNREFUSED", "no: TIMEOUT"}, refused
    assert ssh == "done: connected"


@pytest.mark.requirement("A5")
def test_the_hook_answers_only_what_is_asked_at_its_path(opened: Site) -> None:
    """The stream server's user, who alone reaches it, gets a no for another path and for a viewer whom nobody knows."""
    path = opened.gateway.run(["grep", "-o", "http://127.0.0.1:8800/[^\"' ]*", "/run/sightglass/mediamtx.yml"]).stdout
    path = path.strip().removeprefix("http://127.0.0.1:8800")
    viewer, stranger = str(opened.maintainer.vpn4), "100.64.99.99"
    asks = [(path, viewer), (path, stranger), (path + "x", viewer), ("/", viewer)]
    attempts: list[Attempt] = [("tcp", "127.0.0.1", 8800, _ask(*ask)) for ask in asks]

    def answers() -> list[str]:
        return [answer.split()[2] for answer in as_user(opened.gateway, "sightglass-mediamtx", attempts)]

    assert set(answers()) == {"403"}, "nobody is put on the record who is not there"
    with opened.watching():
        assert answers() == ["204", "403", "403", "403"]


def _ask(path: str, address: str) -> str:
    body: dict[str, Any] = {
        "ip": address, "action": "read", "path": "cam1", "protocol": "rtsp", "user": "", "password": "", "query": "",
    }  # fmt: skip
    text = json.dumps(body)
    return f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(text)}\r\n\r\n{text}"
