"""What the controller makes of a fleet's answers: who has confirmed, who has not, and by when it is over there."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.plugins import loaded

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
FLEET = {"cause": "fleet-off", "reason": "works at all sites"}
OWN = {"cause": "disabled", "reason": "the road is dug up"}
OFF = {"changed": True, "state": "disabled", "disabled": [FLEET], "window": None}
ON = {"changed": True, "state": "closed", "disabled": [], "window": None}
STATUS: dict[str, Any] = {"state": "closed", "disabled": [], "window": None, "last": None}
GONE = {
    "changed": False,
    "unreachable": True,
    "msg": "Task failed: Make sure this host can be reached.\nssh: connect to host 100.64.0.9 port 22: timed out",
}
REFUSED = {"changed": False, "failed": True, "msg": "refused (no-agent): /run/sightglass-agent.sock gives no answer"}


fleet = loaded("filter_plugins/sightglass_fleet.py")


def rows(found: dict[str, Any], state: str = "disabled", **more: Any) -> dict[str, dict[str, Any]]:
    """The report's rows by site; a window lives at most 2 h 15 s."""
    made = fleet.switched(found, state, NOW, dict.fromkeys(found, 7215.0), **more)
    return {row["site"]: row for row in made}


@pytest.mark.requirement("U2")
def test_only_a_gateway_that_says_so_is_confirmed() -> None:
    """Unreachable, refused, not asked and off without the fleet's mark are not, and each has the latest end."""
    answers = {
        "gw1": OFF,
        "gw2": GONE,
        "gw3": REFUSED,
        "gw4": None,
        "gw5": {**OFF, "disabled": [OWN]},
        "gw6": {**OFF, "state": "closing"},
        "gw7": {**OFF, "changed": False, "disabled": [OWN]},
    }
    found = rows(answers)
    assert [site for site, row in found.items() if row["confirmed"]] == ["gw1"]
    assert "ended_by" not in found["gw1"]
    assert {row["ended_by"] for site, row in found.items() if site != "gw1"} == {"2026-11-24T04:00:15Z"}
    assert found["gw2"]["said"] == "unreachable: ssh: connect to host 100.64.0.9 port 22: timed out"
    assert found["gw3"]["said"] == REFUSED["msg"]
    assert found["gw4"]["said"] == "it was not asked"


@pytest.mark.requirement("U2")
def test_a_window_that_was_closed_by_it_is_named() -> None:
    """And one that had ended before is not."""
    window = {"id": "w-0123456789ab", "cause": "fleet-off"}
    assert "w-0123456789ab has ended" in rows({"gw1": {**OFF, "window": window}})["gw1"]["said"]
    assert rows({"gw1": {**OFF, "window": {**window, "cause": "closed"}}})["gw1"]["said"] == "disabled"
    assert rows({"gw1": {**OFF, "changed": False}})["gw1"]["said"] == "it was disabled already"


@pytest.mark.requirement("U2")
def test_a_second_run_keeps_what_was_confirmed_and_adds_the_rest() -> None:
    """A gateway that left the inventory stays unconfirmed, by its name."""
    before = list(rows({"gw1": OFF, "gw2": GONE, "gw9": GONE}).values())
    found = rows({"gw1": None, "gw2": OFF}, before=before)
    assert {site: row["confirmed"] for site, row in found.items()} == {"gw1": True, "gw2": True, "gw9": False}
    assert found["gw1"]["said"] == "disabled (at 2026-11-24T02:00:00Z)", "it was so then, and was not asked again"
    third = rows({"gw1": None, "gw2": None}, before=list(found.values()))
    assert third["gw1"]["said"] == found["gw1"]["said"]
    assert found["gw9"]["said"] == "it is not in the inventory any more"


@pytest.mark.requirement("U2")
def test_enabling_names_the_sites_that_stay_off() -> None:
    """Confirmed is that the fleet's mark is gone."""
    answers = {"gw1": ON, "gw2": {**ON, "state": "disabled", "disabled": [OWN]}, "gw3": {**ON, "disabled": [FLEET]}}
    found = rows(answers, "enabled")
    assert {site: row["confirmed"] for site, row in found.items()} == {"gw1": True, "gw2": True, "gw3": False}
    assert found["gw2"]["said"] == "enabled, but it stays disabled: the road is dug up"
    assert not any("ended_by" in row for row in found.values())


@pytest.mark.requirement("U2")
def test_check_mode_confirms_nothing_as_done() -> None:
    """It says what would be."""
    found = rows({"gw1": OFF, "gw2": GONE}, check=True)
    assert (found["gw1"]["said"], found["gw2"]["confirmed"]) == ("it would be disabled", False)


@pytest.mark.requirement("U2")
def test_the_status_of_a_fleet_is_a_line_each() -> None:
    """An alarm of the ledger stands before everything."""
    window = {
        "id": "w-0123456789ab", "purpose": "debug", "deadline": "2026-11-24T02:30:00+00:00",
        "viewers": [{"watching": True}, {"watching": False}],
    }  # fmt: skip
    status = {**STATUS, "state": "open", "window": window}
    answers = {
        "gw10": {"state": "open", "status": status},
        "gw2": {"state": "disabled", "status": {**status, "disabled": [FLEET], "window": None}},
        "gw3": {"state": "open", "status": status, "ledger": "gw3: its record was shortened"},
        "gw4": GONE,
    }
    found = fleet.standing(answers)
    assert [row["site"] for row in found] == ["gw2", "gw3", "gw4", "gw10"]
    assert [row["known"] for row in found] == [True, False, False, True]
    lines = fleet.table(found)
    assert lines[1] == "gw2   yes    disabled  fleet-off: works at all sites"
    assert lines[2] == "gw3   NO     open      gw3: its record was shortened"
    assert lines[4] == "gw10  yes    open      w-0123456789ab for debug, until 2026-11-24T02:30:00Z, 1 watching"


@pytest.mark.requirement("U2")
@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "[" * 100_000,
        '{"what": "fleet_off", "gateways": []}',
        '{"what": "fleet_on", "gateways": [], "made": "2026-11-24T01:00:00Z"}',
        '{"what": "fleet_off", "gateways": [{"site": 1}], "made": "2026-11-24T01:00:00Z"}',
        '{"what": "fleet_off", "gateways": [], "made": "2026-11-23T01:59:59Z"}',
        '{"what": "fleet_off", "gateways": [], "made": "2026-11-24T02:00:01Z"}',
    ],
)
def test_a_file_that_is_no_report_is_none(text: str) -> None:
    """Nobody is left out by a wrong file, nor by one that is a day old; the control: a right one."""
    assert fleet.earlier(text, "fleet_off", NOW) is None
    report = {"what": "fleet_off", "made": "2026-11-24T01:00:00Z", "gateways": list(rows({"gw1": GONE}).values())}
    assert fleet.earlier(json.dumps(report), "fleet_off", NOW.replace(tzinfo=None)) == report["gateways"]


@pytest.mark.requirement("U2")
def test_a_report_that_was_undone_since_is_told() -> None:
    """Off, on, and off again by the first report would leave on whoever it had confirmed."""
    text = json.dumps({"made": "2026-11-24T02:00:00Z"})
    reports = [
        f"/r/fleet_{what}-20261124T0{at}.json" for what in ("off", "on") for at in ("15959Z", "20000Z", "20001Z")
    ]
    assert fleet.undone(reports, "fleet_off", text) == ["/r/fleet_on-20261124T020001Z.json"]
    assert fleet.undone(reports, "fleet_on", text) == ["/r/fleet_off-20261124T020001Z.json"]
    assert fleet.undone(reports, "fleet_off", "no report") == []


@pytest.mark.requirement("U2")
@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"changed": True, "state": "disabled", "window": None},
        {**OFF, "disabled": "fleet-off"},
        {**OFF, "disabled": [None]},
        {**OFF, "window": ["w-0123456789ab"]},
    ],
)
def test_an_answer_without_sense_is_that_gateways_alone(answer: dict[str, Any]) -> None:
    """Another version, or a gateway in other hands: it is not confirmed, and the rest of the fleet is reported."""
    found = rows({"gw1": answer, "gw2": OFF})
    assert (found["gw1"]["confirmed"], found["gw2"]["confirmed"]) == (False, True)
    assert found["gw1"]["said"].startswith("its answer makes no sense: ")
    stands = {row["site"]: row for row in fleet.standing({"gw1": answer, "gw2": {"state": "closed", "status": STATUS}})}
    assert (stands["gw1"]["known"], stands["gw2"]["known"]) == (False, True)
    diagnosed = fleet.diagnosed({"gw1": {"stdout": "[" * 100_000}, "gw2": answer})
    assert [row["sound"] for row in diagnosed] == [False, False]


@pytest.mark.requirement("U2")
def test_a_gateway_writes_no_line_of_anothers() -> None:
    """Whatever it says is one line of its own, without a word to the terminal."""
    said = "works\ngw2   yes    closed    all is well\x1b[2J"
    mark = {**FLEET, "reason": said}
    on = rows({"gw1": {**ON, "disabled": [{**OWN, "reason": said}], "state": "clo\x1b[2Jsed"}}, "enabled")
    lines = [
        *fleet.table(list(on.values())),
        *fleet.table(fleet.standing({"gw1": {"state": "disabled", "status": {**STATUS, "disabled": [mark]}}})),
        *fleet.table(list(rows({"gw1": {**REFUSED, "msg": said}, "gw3": {**GONE, "msg": said}}).values())),
    ]
    assert all(line.isprintable() for line in lines), lines
    assert not [line for line in lines if line.startswith("gw2")]
    assert max(len(line) for line in fleet.table(list(rows({"gw1": {**REFUSED, "msg": "x" * 9999}}).values()))) < 700


@pytest.mark.requirement("U1")
def test_a_doctor_who_says_sound_of_a_part_that_fails_is_not_believed() -> None:
    """The verdicts count, and a part's words stay in its line."""
    finding = {"part": "vpn", "verdict": "fail", "evidence": "down\nok", "do": "mend\x1b[2J it"}
    said = json.dumps({"ok": True, "summary": "well", "findings": [finding]})
    (row,) = fleet.diagnosed({"gw1": {"stdout": said}})
    assert row["sound"] is False
    assert all(line.isprintable() for line in fleet.diagnoses([row], True))


@pytest.mark.requirement("U2")
def test_how_long_a_window_lives_is_the_roles_own_default() -> None:
    """What an inventory leaves out is what the role sets."""
    defaults = yaml.safe_load((ROOT / "roles/sightglass_agent/defaults/main.yml").read_text())
    whole = 60 * defaults["sightglass_agent_limits"]["max_minutes"] + defaults["sightglass_agent_lease_s"]
    own = {"sightglass_agent_limits": {"max_minutes": 10}, "sightglass_agent_lease_s": 5}
    assert fleet.longest(["gw1", "gw2"], {"gw1": {}, "gw2": own}) == {"gw1": whole, "gw2": 605.0}
    assert fleet.answers(["gw1"], {"gw1": {"found": {"skipped": True}}}, "found") == {"gw1": None}
