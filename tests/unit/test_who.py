"""Who asked: the account and by whose right, the claimed name apart, shared accounts flagged; and who may be told."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pydantic import TypeAdapter, ValidationError

from sightglass.agent import Agent
from sightglass.api.port import Caller, OpenRequest
from sightglass.config import Account
from sightglass.desk import Desk
from sightglass.recorded import opener
from sightglass.refusal import Refusal
from sightglass.store import Store
from sightglass.who import OPERATORS, said, who
from sightglass.window import Limits, Machine, Purpose, State, Window
from tests.unit.api_parts import OPEN, FakeAgent, ask
from tests.unit.test_api_callers import NOBODY, ask_as
from tests.unit.test_module_window import FakeAgent as Answers

pytestmark = pytest.mark.requirement("U5")

ANN = Caller(1001, "ann", (OPERATORS,))
ADMIN = Caller(1000, "admin", (OPERATORS,))
HELD = "a window is open already: w-0123456789ab, opened by the shared account admin (claimed name: Ann), until "


@pytest.mark.parametrize(
    ("caller", "claimed", "group", "shared", "words"),
    [
        (ANN, None, OPERATORS, False, "ann"),
        (ANN, "Ann B", OPERATORS, False, "ann (claimed name: Ann B)"),
        (ADMIN, "ann", OPERATORS, True, "the shared account admin (claimed name: ann)"),
        (ADMIN, None, OPERATORS, True, "the shared account admin (nobody named)"),
        (Caller(0, "root", (OPERATORS,)), "ann", "root", True, "the shared account root (claimed name: ann)"),
        (Caller(0, "toor", ()), None, "root", True, "the shared account toor (nobody named)"),
        (Caller(1002, "root", (OPERATORS,)), None, OPERATORS, False, "root"),
    ],
    ids=str,
)
def test_an_account_is_flagged_by_the_site_and_root_always(
    caller: Caller, claimed: str | None, group: str, shared: bool, words: str
) -> None:
    """By its number for root: any name may stand for it. A claim never changes account or flag."""
    found = who(caller.user, caller.uid, claimed, ["admin"])
    assert (found.user, found.uid, found.group, found.shared, found.claimed_name) == (
        caller.user, caller.uid, group, shared, claimed)  # fmt: skip
    assert said(found.personal()) == words
    shown = opener({**found.personal(), "salt": "00"})
    assert shown is not None
    assert (shown.said, shown.shared) == (words, shared)


@pytest.mark.parametrize("fields", [None, {}, {"uid": 0, "user": "root"}, {"uid": "0", "group": "root"}], ids=str)
def test_nobody_is_named_where_the_record_does_not(fields: dict[str, Any] | None) -> None:
    """Expired, from before the flag, or edited: the state of a gateway is told all the same."""
    assert opener(fields) is None
    assert said(fields or {}) in ("?", "root")


def desk(directory: Path, by: Caller, claimed: str | None) -> tuple[Desk, Store]:
    """A desk whose agent has one window open."""
    window = Window(
        "w-0123456789ab", "request-0", ("cam1",), Purpose.DEBUG, 30, frozenset(), "redacted", 0.0, 1e9, opened=1.0,
        by=who(by.user, by.uid, claimed, ["admin"]),
    )  # fmt: skip
    store = Store(directory, "boot")
    config = SimpleNamespace(
        timezone="UTC", shared_accounts=["admin"], cameras={"cam1": None},
        limits=SimpleNamespace(default_minutes=30, max_minutes=120),
    )  # fmt: skip
    machine = Machine(Limits(15, 600, 120, 2), State.OPEN, window)
    return Desk(cast("Agent", SimpleNamespace(store=store, config=config, machine=machine, live=None))), store


def test_the_second_operator_hears_who_holds_the_window_and_the_chain_does_not(tmp_path: Path) -> None:
    """The holder as recorded and until when; a name in the chain itself could never expire."""
    asked = OpenRequest("request-9", ("cam1",), None, "my turn now", "debug", (), "redacted", "Bob")
    here, store = desk(tmp_path, ADMIN, "Ann")
    with pytest.raises(Refusal) as refused:
        asyncio.run(here.open(asked, ANN))
    assert refused.value.code == "second-window"
    assert refused.value.message.startswith(HELD)
    assert "(at the site " in refused.value.message
    event = list(store.events())[-1]
    assert event["event"] == "refused"
    assert (event["who"]["user"], event["who"]["claimed_name"], event["who"]["reason"]) == ("ann", "Bob", "my turn now")
    kept = (tmp_path / "receipts" / "chain.jsonl").read_text()
    assert [name for name in ("admin", "Ann", "ann", "Bob") if name in kept] == []


@pytest.mark.skipif(os.getuid() != 0, reason="asking as another user needs root")
def test_only_operators_are_told_names(api: tuple[FakeAgent, Path]) -> None:
    """Root (the control) sees opener, viewers, and who disabled; a user who is no operator sees how things are."""
    agent, path = api
    agent.__init__()  # type: ignore[misc]
    assert ask(path, "POST", "/v1/windows", {**OPEN, "claimed_name": "Ann Secret"})[0] == 200
    agent.off = [{"cause": "disabled", "at": "2026-11-23T10:00:00+00:00", "user": "ann-secret", "reason": "secret"}]
    told = json.dumps(ask(path, "GET", "/v1/status")[1])
    for name in ("Ann Secret", "ann@example.org", "ann-secret", '"secret"'):
        assert name in told, "the control"
    status, found = ask_as(NOBODY, path, "GET", "/v1/status", None)
    assert (status, found["window"]["state"], found["disabled"][0]["cause"]) == (200, "open", "disabled")
    assert (found["window"]["opened_by"], found["window"]["viewers"]) == (None, [])
    assert "ecret" not in json.dumps(found)
    assert "ann@" not in json.dumps(found)


@pytest.mark.parametrize("route", ["/v1/windows", "/v1/windows/close", "/v1/disable", "/v1/enable"])
@pytest.mark.parametrize(
    ("claimed", "why"),
    [
        ("", "claimed_name: must have at least 1 character"),
        ("   ", "claimed_name: must have at least 1 character"),
        ("x" * 101, "claimed_name: must have at most 100 characters"),
        ("two\nlines", "claimed_name: must be one line of printable characters"),
        ("turned \u202e", "claimed_name: must be one line of printable characters"),
        (7, "claimed_name: input should be a valid string"),
    ],
    ids=repr,
)
def test_a_claimed_name_is_one_line_of_text(api: tuple[FakeAgent, Path], route: str, claimed: Any, why: str) -> None:
    """In every request that takes one; the agent is not asked. The control: a good one arrives, trimmed."""
    agent, path = api
    agent.__init__()  # type: ignore[misc]
    body = OPEN if route == "/v1/windows" else {"reason": "works on the road"}
    status, found = ask(path, "POST", route, {**body, "claimed_name": claimed})
    assert (status, found["code"], agent.asked) == (422, "bad-request", [])
    assert found["message"].lower().startswith(why.lower().replace("input should", "must")), found["message"]
    ask(path, "POST", route, {**body, "claimed_name": " Ann B "})
    heard = agent.asked[0][1].claimed_name if route == "/v1/windows" else agent.claimed
    assert heard == "Ann B"


def test_the_module_tells_the_second_operator_in_check_mode_too(tmp_path: Path) -> None:
    """As the agent's own refusal would; and it passes the claimed name on with a close."""
    from tests.unit.test_module_window import WINDOW, module

    agent = Answers(tmp_path / "agent.sock")
    try:
        held = {**WINDOW, "opened_by": {"said": "the shared account admin (claimed name: Ann)"}}
        agent.status("open", held)
        agent.chain(["00" * 32])
        with pytest.raises(module.Refused, match=r"opened by the shared account admin \(claimed name: Ann\), until "):
            agent.run(request_id="request-2", check=True)
        agent.routes["POST", "/v1/windows/close"] = (200, {**held, "state": "closed"})
        agent.run(state="closed", claimed_name="Bob")
        assert agent.asked[-1][2] == {"window": None, "reason": "the test asks", "claimed_name": "Bob"}
    finally:
        agent.server.shutdown()
        agent.server.server_close()


@pytest.mark.parametrize("account", ["", "two words", "x" * 65, "\u00e4nn"])
def test_a_shared_account_is_a_name_without_spaces(account: str) -> None:
    """What the site lists is checked before it is used; the control: an account of a directory service is taken."""
    checked = TypeAdapter(Account)
    with pytest.raises(ValidationError, match=r"String should match pattern"):
        checked.validate_python(account)
    assert checked.validate_python("ann@corp.example") == "ann@corp.example"
