"""Each parameter of each playbook: what no gateway would accept is refused in one sentence, and no gateway is asked."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.playbook_input import COMMON, GOOD, LONG, MISSING, OTHER_TEMPLATE, ROWS, TEMPLATE, UNFIT, UNKNOWN
from tests.unit.plugins import loaded

# The plays run once for all tests: some three hundred of them, by two processes.
pytestmark = [pytest.mark.requirement("U1"), pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
PLAYBOOKS = ROOT / "ansible" / "playbooks"
# compliance has a limit of its own, and policy_render asks nobody.
LOCAL = {"compliance", "policy_render"}
SWITCH = {"fleet_off": "fleet_switch", "fleet_on": "fleet_switch"}
BAD = [
    (playbook, name, value)
    for playbook, rows in ROWS.items()
    for name, own in rows.items()
    for value in (*COMMON, *(UNFIT if name == next(iter(rows)) else ()), *own)
]
SSH = """#!/bin/sh
: >"$CALLS/$PLAY"
exit 255
"""
EVALUATED = "[{hosts: localhost, gather_facts: false, tasks: [{debug: {msg: '{{ reason }}'}}]}]"


@dataclass(frozen=True)
class Plays:
    """What came of every play, and the names of those that tried to reach a gateway."""

    ended: dict[str, tuple[int, str]]
    called: set[str]
    mark: Path


def key(playbook: str, name: str, value: Any) -> str:
    """The name of one play."""
    shown = "missing" if value is MISSING else json.dumps(value)
    return re.sub(
        r"[^A-Za-z0-9_.-]", lambda found: f"%{ord(found[0]):x}", f"{playbook}.{name}={shown[:40]}.{len(shown)}"
    )


@pytest.fixture(scope="module")
def plays(tmp_path_factory: pytest.TempPathFactory) -> Plays:
    """All of them, in one process that loads Ansible once."""
    place = tmp_path_factory.mktemp("plays")
    calls, ssh, mark, hosts = place / "calls", place / "ssh", place / "mark", place / "hosts.yml"
    calls.mkdir()
    ssh.write_text(SSH)
    ssh.chmod(0o755)
    gateways = {
        name: {"ansible_host": "192.0.2.1", "sightglass_agent_cameras": {"cam1": {}}} for name in ("gw1", "gw2")
    }
    hosts.write_text(json.dumps({"gateways": {"hosts": gateways}}))
    (place / "evaluated.yml").write_text(EVALUATED)
    asked: dict[str, list[str]] = {}

    def play(name: str, playbook: Path, variables: dict[str, Any], *words: str) -> None:
        text = json.dumps(variables).replace("MARK", str(mark))
        asked[name] = ["-i", str(hosts), "-e", text, *words, str(playbook)]

    for playbook, name, value in BAD:
        variables = {**GOOD[playbook], name: value}
        if value is MISSING:
            del variables[name]
        play(key(playbook, name, value), PLAYBOOKS / f"{playbook}.yml", variables)
    for playbook, misspelt in UNKNOWN.items():
        play(f"unknown.{playbook}", PLAYBOOKS / f"{playbook}.yml", {**GOOD[playbook], misspelt: "gw1"})
    for playbook, good in GOOD.items():
        if playbook not in LOCAL:
            play(f"limit.{playbook}", PLAYBOOKS / f"{playbook}.yml", good, "--limit", "gw1")
            play(f"good.{playbook}", PLAYBOOKS / f"{playbook}.yml", good)
            play(f"tags.{playbook}", PLAYBOOKS / f"{playbook}.yml", good, "--tags", "something")
    (place / "ledger").mkdir()
    (place / "ledger" / "gw1.jsonl").write_text("somebody was here\n")
    for playbook in ("window_open", "window_close"):
        variables = {**GOOD[playbook], "sightglass_ledger": str(place / "ledger")}
        play(f"ledger.{playbook}", PLAYBOOKS / f"{playbook}.yml", variables)
    for number, template in enumerate((TEMPLATE, OTHER_TEMPLATE)):
        control = template.replace("touch MARK", f"touch MARK.control{number}")
        play(f"evaluated.{number}", place / "evaluated.yml", {"reason": control})
    # As a form does that puts its text behind `-e reason=`.
    for number, words in enumerate((TEMPLATE, f"x {TEMPLATE}", f"'x' {TEMPLATE} 'y'")):
        play(f"typed.{number}", PLAYBOOKS / "window_open.yml", {"site": "gw1"})
        asked[f"typed.{number}"][2:2] = ["-e", f"reason={words}".replace("MARK", str(mark))]
    environment = {
        **os.environ, "HOME": str(place), "CALLS": str(calls), "ANSIBLE_SSH_EXECUTABLE": str(ssh),
        "ANSIBLE_CALLBACK_RESULT_FORMAT": "json", "ANSIBLE_LOCAL_TEMP": str(place / "tmp"), "ANSIBLE_NOCOLOR": "1",
    }  # fmt: skip
    ended: dict[str, tuple[int, str]] = {}
    names = [*asked]
    with contextlib.ExitStack() as stack:
        halves = []
        for half in (names[0::2], names[1::2]):
            runs = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, Path(__file__).with_name("many_plays.py")],
                    env=environment, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                )
            )  # fmt: skip
            stack.callback(runs.kill)
            assert runs.stdin is not None
            json.dump([(name, asked[name]) for name in half], runs.stdin)
            runs.stdin.close()
            halves.append((half, runs))
        for half, runs in halves:
            assert runs.stdout is not None
            found = [(code, said) for code, said in json.loads(runs.stdout.read())]
            ended |= dict(zip(half, found, strict=True))
    return Plays(ended, {file.name for file in calls.iterdir()}, mark)


def sentence(plays: Plays, name: str) -> str:
    """The one sentence of a play that was refused before any gateway was asked."""
    code, said = plays.ended[name]
    assert code == 2, said
    failures = re.findall(r"^fatal: \[(\w+)\]: FAILED! => (\{.*\})$", said, re.MULTILINE)
    assert len(failures) == 1, said
    assert not re.search("Traceback|WARNING|DEPRECATION|UNREACHABLE", said), said
    assert name not in plays.called
    message = str(json.loads(failures[0][1])["msg"])
    assert message.isprintable(), message
    assert len(message) < 2500, message
    return message


@pytest.mark.parametrize(("playbook", "name", "value"), BAD, ids=[key(*row) for row in BAD])
def test_a_bad_value_is_one_sentence(plays: Plays, playbook: str, name: str, value: Any) -> None:
    """The field, the rule and the value; nobody was asked."""
    said = sentence(plays, key(playbook, name, value))
    assert said.startswith(f"{name}: must "), said
    if value is MISSING:
        assert 'not ""' in said
    elif value == LONG:
        assert "3000" in said
    elif value not in (TEMPLATE, OTHER_TEMPLATE):
        shown = [json.dumps(value).strip('"'), ascii(value)[:70].strip("'"), json.dumps(str(value).strip()).strip('"')]
        assert any(each.casefold() in said.casefold() for each in shown), (said, shown)


def test_a_template_is_not_evaluated(plays: Plays) -> None:
    """What a person types into a form ran on the controller. The control: Ansible does evaluate it, where it is let."""
    for number in range(2):
        assert plays.mark.with_name(f"mark.control{number}").exists(), plays.ended[f"evaluated.{number}"]
    for number in range(3):
        assert "no template" in sentence(plays, f"typed.{number}")
    assert not plays.mark.exists()


@pytest.mark.parametrize("playbook", UNKNOWN)
def test_a_misspelt_name_is_one_sentence(plays: Plays, playbook: str) -> None:
    """With what there is."""
    said = sentence(plays, f"unknown.{playbook}")
    assert said.startswith(f"{UNKNOWN[playbook]}: is not known here, {playbook}.yml takes "), said


@pytest.mark.parametrize("playbook", [name for name in GOOD if name not in LOCAL])
def test_a_limit_that_leaves_the_rules_out_is_refused(plays: Plays, playbook: str) -> None:
    """`--limit gw1` skips the play that looks at what is asked; the same without it asks the gateway (the control)."""
    code, said = plays.ended[f"limit.{playbook}"]
    assert code == 2, said
    assert "limit: must name localhost too (--limit gw1,localhost)" in said
    assert f"limit.{playbook}" not in plays.called
    assert f"good.{playbook}" in plays.called, plays.ended[f"good.{playbook}"]


@pytest.mark.parametrize("playbook", [name for name in GOOD if name not in LOCAL])
def test_tags_leave_nothing_out(plays: Plays, playbook: str) -> None:
    """With every task left out a playbook would end well, and nobody would have been asked."""
    assert f"tags.{playbook}" in plays.called, plays.ended[f"tags.{playbook}"]
    assert plays.ended[f"tags.{playbook}"][0] != 0


@pytest.mark.requirement("U5")
def test_a_ledger_that_cannot_be_read_opens_nothing_and_closes_all_the_same(plays: Plays) -> None:
    """What is remembered of the site is not known; a window must still end."""
    code, said = plays.ended["ledger.window_open"]
    assert (code, "ledger.window_open" in plays.called) == (2, False), said
    assert re.search(r"refused \(ledger\): \S+/gw1\.jsonl, line 1, is no line of a ledger", said), said
    assert "ledger.window_close" in plays.called, plays.ended["ledger.window_close"]


def _names(playbook: Path) -> set[str]:
    found: set[str] = set()
    for play in yaml.safe_load(playbook.read_text()):
        for task in play.get("tasks", ()):
            found |= set(task.get("sightglass_asked", {}).get("names", ()))
    return found


@pytest.mark.parametrize("value", UNFIT, ids=["list", "object", "long", "template", "other template"])
def test_what_is_no_plain_text_is_refused_for_every_parameter(value: Any) -> None:
    """By the names that each playbook hands to the look; the plays above show for one of each that they do."""
    complaint = loaded("action_plugins/sightglass_asked.py").complaint
    for playbook, rows in ROWS.items():
        names = sorted(_names(PLAYBOOKS / f"{SWITCH.get(playbook, playbook)}.yml"))
        for name in rows:
            said = complaint({**GOOD[playbook], name: value}, f"{playbook}.yml", names)
            assert said is not None, (playbook, name)
            assert said.startswith(f"{name}: must "), said
            assert said.isprintable()
            assert len(said) < 2500
        assert complaint(GOOD[playbook], f"{playbook}.yml", names) is None, "the control"


def test_every_parameter_of_every_playbook_has_rows() -> None:
    """Those of its first task, which are those of its first lines; a new playbook comes with its own."""
    for file in sorted(PLAYBOOKS.glob("*.yml")):
        head = "".join(line for line in file.read_text().splitlines(True)[:12] if line.startswith("#"))
        shown = set(re.findall(r"-e \"?([a-z_]+)=", head))
        names = _names(PLAYBOOKS / f"{SWITCH.get(file.stem, file.stem)}.yml")
        if file.stem not in SWITCH.values():
            assert shown == names, f"{file.name}: its first lines and its task sightglass_asked name other parameters"
            assert names == set(ROWS.get(file.stem, ())), f"{file.name}: tests/unit/playbook_input.py has no such rows"
