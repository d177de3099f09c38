"""The real agent on its real socket, asked what its document allows and what it does not: by an operator, by nobody."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from lab.paths import HostError
from tests.contract import FITS, OPERATIONS, UNFIT, Asked, complaint, each
from tests.lab.window.site_under_test import Site

pytestmark = [pytest.mark.requirement("U1"), pytest.mark.requirement("F3")]

COUNT = 15
GROWN_KB = 20_000
SOCKET = "/run/sightglass-agent.sock"
# What a client may get as a rule's no; 503 and 504 would be an agent that a few hundred requests hold up.
ANSWERS = {FITS: (200, 404, 409, 422), UNFIT: (200, 413, 422)}
# Of what fits the document these may have no success: no camera of the site is in it, and no window to close.
OF_A_WINDOW = {"/v1/windows", "/v1/windows/close"}
CLIENT = """
import base64, http.client, json, socket, sys
for line in sys.stdin:
    method, target, body, media = json.loads(line)
    connection = http.client.HTTPConnection("agent", timeout=30)
    connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.sock.settimeout(30)
    connection.sock.connect(sys.argv[1])
    headers = {} if media is None else {"Content-Type": media}
    connection.request(method, target, None if body is None else base64.b64decode(body), headers)
    answer = connection.getresponse()
    text = answer.read().decode()
    read = str if answer.headers.get_content_type() == "text/plain" else json.loads
    print(json.dumps([answer.status, read(text)]))
    connection.close()
"""


def asked_as(site: Site, asked: list[Asked], user: str | None) -> list[tuple[int, Any]]:
    """The answers to all of them, in the same order, on one process of this user."""
    if not asked:
        return []
    lines = [
        json.dumps([each.method, each.target, each.body and base64.b64encode(each.body).decode(), each.media])
        for each in asked
    ]
    command = ["/usr/bin/python3", "-c", CLIENT, SOCKET]
    done = site.gateway.run(command, input="\n".join(lines) + "\n", user=user, timeout=120)
    return [(status, found) for status, found in map(json.loads, done.stdout.splitlines())]


def memory_kb(site: Site) -> int:
    """What the agent holds."""
    status = site.gateway.run(["cat", f"/proc/{site.pid('agent')}/status"]).stdout
    return int(status.partition("VmRSS:")[2].split()[0])


def made(mode: Any, method: str, path: str) -> list[Asked]:
    """The same requests each time."""
    found: list[Asked] = []
    each(method, path, mode, COUNT, found.append)
    return found


@pytest.fixture
def unharmed(site: Site) -> Iterator[Site]:
    """The site; at the end it is the same process, no bigger, its chain is whole, and it still opens and closes."""
    pid = site.pid("agent")
    site.status()
    before = memory_kb(site)
    yield site
    for whose in ((), ("--fleet",)):
        site.sightglass("enable", "--reason", "the fuzzing is over", *whose)
    assert site.pid("agent") == pid
    assert memory_kb(site) < before + GROWN_KB
    site.verify()
    site.wait_guards()
    site.open()
    site.close()
    site.wait_closed()


def test_an_operator_asks_anything(unharmed: Site) -> None:
    """Each answer is a documented one; whoever does not keep to the document changes nothing, and gets one sentence. Of
    what fits it some succeeds in each operation, or everything refused would pass."""
    for mode in (UNFIT, FITS):
        for method, path in OPERATIONS:
            asked = made(mode, method, path)
            events = unharmed.status()["chain"]["n"]
            answers = asked_as(unharmed, asked, None)
            for one, (status, found) in zip(asked, answers, strict=True):
                assert status in ANSWERS[mode], (one.said(), found)
                assert complaint(method, path, status, found) is None, one.said()
                assert mode is FITS or status != 200 or one.body is None, (one.said(), found)
            assert mode is FITS or unharmed.status()["chain"]["n"] == events, "nothing was recorded, so nothing changed"
            if mode is FITS and path not in OF_A_WINDOW:
                assert 200 in {status for status, _ in answers}, f"{method} {path} never succeeds: {answers}"
            unharmed.sightglass("close")


def test_nobody_asks_anything(unharmed: Site) -> None:
    """The socket lets nobody in. With its mode widened, what changes something is refused by who asks, before what is
    asked; and looking (the control) is answered."""
    looking = [Asked("GET", "/v1/status", None, None)]
    with pytest.raises(HostError, match="PermissionError"):
        asked_as(unharmed, looking, "nobody")
    mode = unharmed.gateway.run(["stat", "-c", "%a", SOCKET]).stdout.strip()
    unharmed.gateway.run(["chmod", "666", SOCKET])
    try:
        assert asked_as(unharmed, looking, "nobody")[0][0] == 200
        _nobody_asks(unharmed)
    finally:
        unharmed.gateway.run(["chmod", mode, SOCKET])


def _nobody_asks(unharmed: Site) -> None:
    events = unharmed.status()["chain"]["n"]
    refused = 0
    for method, path in OPERATIONS:
        for mode in (UNFIT, FITS):
            asked = made(mode, method, path)
            for one, (status, found) in zip(asked, asked_as(unharmed, asked, "nobody"), strict=True):
                assert status in (200, 403, 413, 422), (one.said(), found)
                assert complaint(method, path, status, found) is None, one.said()
                # What is no JSON is read, and refused, before anybody asks who it was; no rule of the site is told.
                if method == "post" and not (status == 422 and found["message"].startswith("the body: must be JSON")):
                    assert (status, found["code"]) == (403, "not-an-operator"), (one.said(), found)
                    refused += 1
    assert refused > COUNT
    assert unharmed.status()["chain"]["n"] == events
