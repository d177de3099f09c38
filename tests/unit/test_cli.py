"""The command line against the real API on a real socket: what it asks, prints and ends with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sightglass import cli
from sightglass.api.port import Chain
from sightglass.causes import CAUSES, DEPARTURES, SUSPENSIONS
from sightglass.refusal import Refusal
from sightglass.store import Store
from tests.unit.api_parts import CHAIN
from tests.unit.terminal import Terminal

REASON = ["--reason", "align the camera"]
OPEN = ["open", "--camera", "cam1", *REASON]


@pytest.mark.requirement("O1")
def test_open_shows_state_deadline_and_where_to_watch(terminal: Terminal) -> None:
    """The deadline stands in UTC and in the site's time."""
    assert terminal.run(*OPEN, "--camera", "cam2", "--minutes", "15", "--purpose", "debug") == (
        0,
        "window w-0123456789ab: open\n"
        "  cameras   cam1, cam2 (debug)\n"
        "  until     2026-11-23T10:30:00+00:00 (at the site 2026-11-23T11:30:00+01:00)\n"
        "  opened by the shared account root (nobody named)\n"
        "  page      http://100.64.0.1:8550/\n"
        "  player    rtsp://100.64.0.1:8554/cam1\n"
        "  player    rtsp://100.64.0.1:8554/cam2\n"
        "  watching  ann@example.org on laptop\n",
        "",
    )


@pytest.mark.requirement("O1")
def test_open_asks_for_what_was_typed(terminal: Terminal) -> None:
    """Each option reaches the agent; without an id each call makes its own."""
    terminal.run(*OPEN, "--minutes", "15", "--purpose", "debug", "--viewer", "ann@example.org", "--viewer", "bob@x",
                 "--request-id", "request-1", "--claimed-name", "Ann")  # fmt: skip
    request = terminal.agent.asked[0][1]
    assert (request.request_id, request.cameras, request.minutes, request.reason) == (
        "request-1", ("cam1",), 15, "align the camera")  # fmt: skip
    assert (request.purpose, request.viewers, request.claimed_name) == ("debug", ("ann@example.org", "bob@x"), "Ann")
    terminal.agent.window = None
    ids = set()
    for _ in range(2):
        terminal.run(*OPEN)
        ids.add(terminal.agent.asked[-1][1].request_id)
        terminal.agent.window = None
    assert len(ids) == 2


@pytest.mark.requirement("O5")
@pytest.mark.requirement("N3")
def test_the_other_verbs_show_what_they_did(terminal: Terminal) -> None:
    """One story: open, look, close, look, disable, look, enable."""
    terminal.run(*OPEN)
    assert terminal.run("status")[1].startswith("lab-gw1: open\n  cameras   cam1 (alignment)\n")
    assert terminal.run("close", "--reason", "work is done") == (0, "window w-0123456789ab: closed (closed)\n", "")
    assert terminal.run("status") == (0, "lab-gw1: closed\n  last window w-0123456789ab: closed\n", "")
    assert terminal.run("disable", "--reason", "works on the road") == (0, "lab-gw1: disabled\n", "")
    assert "disabled by root at 2026-11-23T10:00:00+00:00: works on the road" in terminal.run("status")[1]
    assert terminal.run(*OPEN) == (3, "", "refused (disabled): windows are disabled here\n")
    assert terminal.run("enable", "--reason", "works are done") == (0, "lab-gw1: closed\n", "")


@pytest.mark.requirement("O2")
def test_guards_end_with_one_when_one_does_not_pass(terminal: Terminal) -> None:
    """For scripts that want to know before they ask."""
    assert terminal.run("guards") == (0, "pass    lane      the lane is idle\n", "")
    terminal.agent.guard = type(terminal.agent.guard)("lane", "unknown", "stale", "the lane's publisher is silent")
    assert terminal.run("guards", "--camera", "cam1", "--purpose", "debug")[0] == 1
    assert terminal.agent.asked[-1] == ("guards", ("cam1",), "debug")


@pytest.mark.requirement("U5")
@pytest.mark.parametrize(
    "words",
    [["status"], OPEN, ["disable", *REASON], ["enable", *REASON], ["guards"], ["receipts", "show"],
     ["receipts", "export"], ["receipts", "verify"]],
    ids=" ".join,
)  # fmt: skip
def test_json_is_the_agents_answer(terminal: Terminal, words: list[str]) -> None:
    """`--json` everywhere; `export` is JSON by itself; the chain's head is in each answer."""
    code, out, _ = terminal.run(*words, *([] if "export" in words else ["--json"]))
    assert code == 0
    answer = json.loads(out)
    if words[0] != "receipts" or words[1] == "show":
        assert answer["chain"] == CHAIN


@pytest.mark.requirement("O1")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["open", "--camera", "../x", *REASON], "cameras.0: must match pattern"),
        (["open", "--camera", "cam1", "--camera", "cam1", *REASON], "cameras: must name each camera once"),
        ([*OPEN, "--minutes", "0"], "minutes: must be greater than or equal to 1, not 0"),
        (["open", "--camera", "cam1", "--reason", "no"], "reason: must have 5 to 200 characters, it has 2"),
        (["open", "--camera", "cam1", "--reason", "two\nlines"], "reason: must be one line of printable characters"),
        ([*OPEN, "--request-id", "a b"], "request_id: must match pattern"),
        ([*OPEN, "--viewer", "ann example"], "viewers.0: must match pattern"),
        (["close", "--window", "w-1"], "window: must match pattern"),
        (["close", "--reason", "x"], "reason: must have 5 to 200 characters"),
        (["disable", "--reason", "x"], "reason: must have 5 to 200 characters"),
        (["enable", "--reason", ""], "reason: must have 5 to 200 characters, it has 0"),
        (["receipts", "show", "--after", "-1"], "after: must be greater than or equal to 0"),
    ],
)
def test_what_the_agent_refuses_is_one_line(terminal: Terminal, words: list[str], said: str) -> None:
    """On stderr, with the rule's name, exit code 3."""
    code, out, err = terminal.run(*words)
    assert (code, out) == (3, "")
    assert err.startswith("refused (bad-request): ")
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.requirement("O1")
@pytest.mark.parametrize(
    "words",
    [[], ["look"], ["open"], ["open", "--camera", "cam1"], ["open", *REASON], [*OPEN, "--minutes", "soon"],
     [*OPEN, "--purpose", "looking"], ["close", "now"], ["disable"], ["enable"], ["guards", "--purpose", "x"],
     ["receipts"], ["receipts", "burn"], ["receipts", "show", "--after", "x"], ["receipts", "verify", "--dir"],
     ["status", "--force"]],
    ids=" ".join,
)  # fmt: skip
def test_wrong_usage_asks_nobody(terminal: Terminal, words: list[str]) -> None:
    """Exit code 2 and the usage."""
    code, out, err = terminal.run(*words)
    assert (code, out) == (2, "")
    assert "usage: sightglass" in err
    assert terminal.agent.asked == []


@pytest.mark.requirement("O2")
def test_a_refusal_cannot_write_to_the_terminal(terminal: Terminal) -> None:
    """Escapes, line breaks and turned text of the other side are shown as what they are: not to be shown."""
    terminal.agent.fault = Refusal("guard-lane", "moving\x1b[2J\nroot: all is well\u202e", 409)
    code, _, err = terminal.run(*OPEN)
    assert (code, err) == (3, "refused (guard-lane): moving\ufffd[2J\ufffdroot: all is well\ufffd\n")


@pytest.mark.requirement("U5")
def test_a_name_in_a_receipt_cannot_write_to_the_terminal(terminal: Terminal) -> None:
    """The same for what others have left in the record."""
    who = {"user": "ann\x1b]0;x\x07", "reason": "align\r\nclosed"}
    terminal.agent.events = [
        {"n": 1, "at": "2026-11-23T10:00:00.000+00:00", "window": None, "event": "opening", "data": {}, "who": who}
    ]
    code, out, _ = terminal.run("receipts", "show")
    assert code == 0
    assert out.count("\n") == 1
    assert out[:-1].isprintable()


@pytest.mark.requirement("U5")
@pytest.mark.parametrize(
    ("event", "data", "said"),
    [
        ("cause", {"cause": "lane", "why": "lane1 is 'moving'"},
         f"cause=lane ({CAUSES['lane']}) why=lane1 is 'moving'"),
        ("suspended", {"cause": "lane", "why": "deadline "}, f"cause=lane ({SUSPENSIONS['lane']}) why=deadline "),
        ("left", {"cut": True, "why": "peer-gone", "bytes": 7},
         f"cut=True why=peer-gone ({DEPARTURES['peer-gone']}) bytes=7"),
        ("cause", {"cause": "of-tomorrow"}, "cause=of-tomorrow"),
        ("rolled-back", {"cause": ["lane"], "found": "lane"}, "cause=['lane'] found=lane"),
    ],
)  # fmt: skip
def test_a_cause_is_shown_with_its_sentence(terminal: Terminal, event: str, data: dict[str, Any], said: str) -> None:
    """For whoever does not know the names by heart; a name that this version does not know stays as it is."""
    terminal.agent.events = [
        {
            "n": 1,
            "at": "2026-11-23T10:00:00.000+00:00",
            "window": "w-1",
            "event": event,
            "data": data,
            "who": None,
            "hash": "00" * 32,
        }
    ]
    assert terminal.run("receipts", "show")[1].endswith(f"{said}\n")
    assert json.loads(terminal.run("receipts", "export")[1])["events"][0]["data"] == data


@pytest.mark.requirement("U5")
def test_receipts_are_read_to_their_end(terminal: Terminal) -> None:
    """More than one answer holds, each event once."""
    terminal.agent.events = [
        {
            "n": n,
            "at": "2026-11-23T10:00:00.000+00:00",
            "window": "w-1",
            "event": "joined",
            "data": {},
            "who": None,
            "hash": "00" * 32,
        }
        for n in range(1, 1102)
    ]
    assert [event["n"] for event in json.loads(terminal.run("receipts", "export")[1])["events"]] == [*range(1, 1102)]
    assert terminal.run("receipts", "show", "--after", "1099")[1].count("\n") == 2
    assert ("receipts", 1000, 500) in terminal.agent.asked
    assert terminal.run("receipts", "show", "--all")[1].count("\n") == 1101


@pytest.mark.requirement("U5")
def test_show_shows_the_last_events(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty; a record of ten years is not for a screen."""
    monkeypatch.setattr(terminal.agent, "chain", lambda: Chain(1101, "ab" * 32), raising=False)
    terminal.agent.events = [
        {"n": n, "at": "2026-11-23T10:00:00.000+00:00", "window": "w-1", "event": "joined", "data": {}, "who": None}
        for n in range(1, 1102)
    ]
    shown = terminal.run("receipts", "show")[1].splitlines()
    assert (len(shown), shown[0].split()[0], shown[-1].split()[0]) == (50, "1052", "1101")
    assert len(json.loads(terminal.run("receipts", "show", "--json")[1])["events"]) == 50
    assert ("receipts", 0, 500) not in terminal.agent.asked


@pytest.mark.requirement("U5")
def test_a_remembered_event_is_asked_for(terminal: Terminal) -> None:
    """`--known` reaches the agent; what is none is wrong usage."""
    head = f"7:{'ab' * 32}"
    assert terminal.run("receipts", "verify", "--known", head)[0] == 0
    assert terminal.agent.asked[-1] == ("verify", head)
    code, _, said = terminal.run("receipts", "verify", "--known", "7")
    assert code == 2
    assert "--known: must be N:HASH, a number and 64 hexadecimal digits, not '7'" in said


@pytest.mark.requirement("U5")
def test_verify_names_what_is_wrong(terminal: Terminal) -> None:
    """Exit code 1; whole is 0."""
    assert terminal.run("receipts", "verify") == (
        0,
        f"the chain is whole: 0 events, the last is 7:{'ab' * 32}\n",
        "",
    )
    terminal.agent.problems = [{"name": "edited", "line": 3, "why": "event 3 was changed after it was written"}]
    assert terminal.run("receipts", "verify") == (1, "edited: event 3 was changed after it was written\n", "")
    assert terminal.run("receipts", "verify", "--json")[0] == 1


@pytest.mark.requirement("U5")
def test_a_copy_is_verified_without_an_agent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--dir`: far from its gateway."""
    Store(tmp_path, "boot").append("opening", "w-1", {}, {"user": "ann"})
    words = ["receipts", "verify", "--dir", str(tmp_path / "receipts")]
    assert cli.main(words) == 0
    said = capsys.readouterr().out
    head = said.rpartition(" ")[2].strip()
    assert said == f"the chain is whole: 2 events, the last is {head}\n"
    assert cli.main([*words, "--known", head]) == 0
    capsys.readouterr()
    assert cli.main([*words, "--known", f"3:{head[2:]}"]) == 1
    assert capsys.readouterr().out.startswith("shortened: the last event is 2, event 3 was seen before")
    assert cli.main([*words, "--known", f"1:{head[2:]}"]) == 1
    assert capsys.readouterr().out == "rewritten: event 1 is not the one that was seen before\n"
    chain = tmp_path / "receipts" / "chain.jsonl"
    chain.write_bytes(chain.read_bytes().replace(b"opening", b"opened"))
    assert cli.main([*words, "--json"]) == 1
    assert [problem["name"] for problem in json.loads(capsys.readouterr().out)["problems"]] == ["edited"]
    chain.unlink()
    assert cli.main(words) == 2
    assert capsys.readouterr().err == f"--dir: {chain}: No such file or directory\n"
