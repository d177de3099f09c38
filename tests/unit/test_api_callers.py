"""Who may ask: by the kernel's word on the socket, and by what the host says of the groups now."""

from __future__ import annotations

import grp
import json
import os
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sightglass.api import app, server
from tests.unit.api_parts import OPEN, FakeAgent

pytestmark = [
    pytest.mark.requirement("O1"),
    pytest.mark.skipif(os.getuid() != 0, reason="asking as another user needs root"),
]
NOBODY = 65534
CLIENT = """
import http.client, json, socket, sys
connection = http.client.HTTPConnection("agent", timeout=60)
connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
connection.sock.connect(sys.argv[1])
connection.request(sys.argv[2], sys.argv[3], sys.argv[4] or None, {"Content-Type": "application/json"})
answer = connection.getresponse()
print(json.dumps([answer.status, json.loads(answer.read())]))
"""
OPENING = ("POST", "/v1/windows", OPEN)
CHANGES: list[tuple[str, str, Any]] = [
    OPENING,
    ("POST", "/v1/windows/close", {}),
    ("POST", "/v1/disable", {"reason": "works on the road"}),
    ("POST", "/v1/enable", {"reason": "works are done"}),
    ("GET", "/v1/receipts", None),
    ("GET", "/v1/doctor", None),
]
LOOKS = ["/v1/status", "/v1/guards", "/v1/receipts/verify"]


def ask_as(
    uid: int, path: Path, method: str, route: str, body: Any, gid: int | None = None
) -> tuple[int, dict[str, Any]]:
    """One question by another process, of this user and of one group: its own number's, when none is given."""
    text = "" if body is None else json.dumps(body)
    done = subprocess.run(
        ["/usr/bin/python3", "-c", CLIENT, path, method, route, text],
        user=uid, group=uid if gid is None else gid, extra_groups=[], cwd="/",
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    status, found = json.loads(done.stdout)
    return status, found


@pytest.mark.parametrize(("method", "route", "body"), CHANGES, ids=[route for _, route, _ in CHANGES])
def test_nobody_changes_nothing_and_reads_no_names(
    api: tuple[FakeAgent, Path], method: str, route: str, body: Any
) -> None:
    """Refused by the rule's name, before the agent hears of it; root's same request passes."""
    agent, path = api
    agent.__init__()  # type: ignore[misc]
    status, found = ask_as(NOBODY, path, method, route, body)
    assert (status, found["code"]) == (403, "not-an-operator")
    assert found["message"] == f"nobody is not in the group {app.OPERATORS}"
    assert agent.asked == []
    status, _ = ask_as(0, path, method, route, body)
    assert status in (200, 404)
    assert len(agent.asked) == 1


@pytest.mark.parametrize("route", LOOKS)
def test_nobody_may_look(api: tuple[FakeAgent, Path], route: str) -> None:
    """The positive control of the refusals: the same client, the same socket."""
    assert ask_as(NOBODY, api[1], "GET", route, None)[0] == 200


def test_a_bad_body_of_nobody_tells_nothing_but_the_refusal(api: tuple[FakeAgent, Path]) -> None:
    """Who may not ask learns no rule of the site."""
    assert ask_as(NOBODY, api[1], "POST", "/v1/windows", {})[0] == 403


def test_a_member_of_the_group_is_an_operator(api: tuple[FakeAgent, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """The group is what counts: the one that nobody is in, once it is the operators'."""
    agent, path = api
    agent.__init__()  # type: ignore[misc]
    monkeypatch.setattr(app, "OPERATORS", grp.getgrgid(NOBODY).gr_name)
    status, found = ask_as(NOBODY, path, *OPENING)
    assert (status, found["state"]) == (200, "open")
    (_, _, caller), = agent.asked  # fmt: skip
    assert (caller.uid, caller.user) == (NOBODY, "nobody")


@pytest.mark.parametrize(("uid", "gid", "status"), [(NOBODY, 0, 403), (0, NOBODY, 200)])
def test_the_user_counts_and_not_the_number_of_a_group(
    api: tuple[FakeAgent, Path], uid: int, gid: int, status: int
) -> None:
    """Group 0 makes nobody root."""
    api[0].__init__()  # type: ignore[misc]
    assert ask_as(uid, api[1], *OPENING, gid=gid)[0] == status


def test_a_user_whom_the_host_does_not_know_is_no_operator(api: tuple[FakeAgent, Path]) -> None:
    """A uid without a name has no groups here, whatever it had at home."""
    status, found = ask_as(61234, api[1], *OPENING)
    assert (status, found["message"]) == (403, f"uid 61234 is not in the group {app.OPERATORS}")


def test_the_caller_is_the_process_at_the_other_end() -> None:
    """Nothing that a request says goes into it."""
    one, other = socket.socketpair(socket.AF_UNIX)
    with one, other:
        found = server.caller(one)
    assert (found.uid, found.user) == (0, "root")
    assert "root" in found.groups
