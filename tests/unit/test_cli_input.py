"""Bad input to each option of each verb of `sightglass` and `lab`: one sentence, field, rule and value; no effect."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import cli as lab_cli
from lab import paths
from sightglass import cli
from tests.unit.api_parts import FakeAgent

pytestmark = pytest.mark.requirement("U1")

OPEN = ("open", "--camera", "cam1", "--reason", "a test asks")
LONG = "x" * 3000
LINE = "must be one line of printable characters"
# Words, exit code (2: the command itself, 3: the agent), and what the sentence says.
BAD: list[tuple[tuple[str, ...], int, str]] = [
    ((), 2, "the following arguments are required: VERB"),
    (("opne",), 2, "argument VERB: invalid choice: 'opne'"),
    (("status", "now"), 2, "unrecognized arguments: now"),
    (("status", "--watch"), 2, "unrecognized arguments: --watch"),
    (("open", "--reason", "a test asks"), 2, "the following arguments are required: --camera"),
    (("open", "--camera", "cam1"), 2, "the following arguments are required: --reason"),
    ((*OPEN, "--camera", ""), 3, "cameras.1: must match pattern '^[a-z0-9][a-z0-9_-]{0,31}$', not \"\""),
    ((*OPEN, "--camera", "../cam"), 3, "cameras.1: must match pattern"),
    ((*OPEN, "--camera", LONG), 3, "cameras.1: must match pattern"),
    ((*OPEN, "--camera", "cam1"), 3, "cameras: must name each camera once"),
    ((*OPEN, *(word for n in range(5) for word in ("--camera", f"c{n}"))), 3, "cameras: must have at most 4 items"),
    ((*OPEN, "--minutes", ""), 2, "argument --minutes: invalid int value: ''"),
    ((*OPEN, "--minutes", "ten"), 2, "argument --minutes: invalid int value: 'ten'"),
    ((*OPEN, "--minutes", "1e3"), 2, "argument --minutes: invalid int value: '1e3'"),
    ((*OPEN, "--minutes", "0"), 3, "minutes: must be greater than or equal to 1, not 0"),
    ((*OPEN, "--minutes=-1"), 3, "minutes: must be greater than or equal to 1, not -1"),
    ((*OPEN, "--minutes", "1441"), 3, "minutes: must be less than or equal to 1440, not 1441"),
    (("open", "--camera", "cam1", "--reason", ""), 3, "reason: must have 5 to 200 characters, it has 0"),
    (("open", "--camera", "cam1", "--reason", LONG), 3, "reason: must have 5 to 200 characters, it has 3000"),
    (("open", "--camera", "cam1", "--reason", "a line\nmore"), 3, f"reason: {LINE}"),
    (("open", "--camera", "cam1", "--reason", "turned \u202e text"), 3, f"reason: {LINE}"),
    ((*OPEN, "--purpose", "looking"), 2, "argument --purpose: invalid choice: 'looking'"),
    ((*OPEN, "--viewer", ""), 3, "viewers.0: must match pattern"),
    ((*OPEN, "--viewer", "ann example"), 3, "viewers.0: must match pattern"),
    ((*OPEN, *("--viewer", "a") * 17), 3, "viewers: must have at most 16 items"),
    ((*OPEN, "--request-id", "short"), 3, "request_id: must match pattern"),
    ((*OPEN, "--request-id", "request-1\n"), 3, "request_id: must match pattern"),
    ((*OPEN, "--claimed-name", "A\x1b[2J"), 3, f"claimed_name: {LINE}"),
    ((*OPEN, "--claimed-name", LONG), 3, "claimed_name: must have at most 100 characters"),
    (("close", "--window", "w-1"), 3, "window: must match pattern"),
    (("close", "--window", ""), 3, "window: must match pattern"),
    (("close", "--claimed-name", "A\nB"), 3, f"claimed_name: {LINE}"),
    (("close", "--reason", "no"), 3, "reason: must have 5 to 200 characters, it has 2"),
    (("disable",), 2, "the following arguments are required: --reason"),
    (("disable", "--reason", "no"), 3, "reason: must have 5 to 200 characters, it has 2"),
    (("disable", "--reason", "a test asks", "--claimed-name", ""), 3, "claimed_name: must have at least 1 character"),
    (
        ("enable", "--reason", "a test asks", "--claimed-name", LONG),
        3,
        "claimed_name: must have at most 100 characters",
    ),
    (("enable",), 2, "the following arguments are required: --reason"),
    (("enable", "--reason", "a\tb\tc"), 3, f"reason: {LINE}"),
    (("enable", "--reason", "a test asks", "--fleet=yes"), 2, "argument --fleet: ignored explicit argument 'yes'"),
    (("guards", "--purpose", ""), 2, "argument --purpose: invalid choice: ''"),
    (("guards", *(word for n in range(5) for word in ("--camera", f"c{n}"))), 3, "camera: must have at most 4 items"),
    (("guards", "--camera", "../cam"), 3, "camera.0: must match pattern"),
    (("guards", "--camera", LONG), 3, "camera.0: must match pattern"),
    (("status", "--socket", "/nowhere/at/all"), 4, "no answer from the agent at /nowhere/at/all: No such file"),
    (("metrics", "--file", "figures.prom"), 2, "argument --file: must be an absolute path that ends in .prom"),
    (("receipts",), 2, "the following arguments are required"),
    (
        ("receipts", "show", "--window", "../x"),
        2,
        "argument --window: must be an id such as w-0123456789ab, not '../x'",
    ),
    (("receipts", "export", "--format", "pdf"), 2, "argument --format: invalid choice: 'pdf'"),
    (("receipts", "export", "--window", LONG), 2, "argument --window: must be an id such as w-0123456789ab, not 'xxx"),
    (("receipts", "export", "--since", "soon"), 2, "argument --since: must be a date or a time such as 2026-11-30"),
    (("receipts", "export", "--until", "2026-13-01"), 2, "argument --until: must be a date or a time"),
    (("receipts", "export", "--output", "/nowhere/x.json"), 2, "--output: /nowhere/x.json: No such file or directory"),
    (("receipts", "verify", "/nowhere/at/all"), 2, "/nowhere/at/all: No such file or directory"),
    (("receipts", "show", "--after", "x"), 2, "argument --after: invalid int value: 'x'"),
    (("receipts", "show", "--after=-1"), 3, "after: must be greater than or equal to 0"),
    (("receipts", "show", "--after", "1", "--all"), 2, "argument --all: not allowed with argument --after"),
    (("receipts", "verify", "--known", "7"), 2, "argument --known: must be N:HASH"),
    (("receipts", "verify", "--dir", "/nowhere/at/all"), 2, "--dir: /nowhere/at/all"),
]


@pytest.mark.parametrize(("words", "code", "said"), BAD, ids=[" ".join(words)[:60] for words, _, _ in BAD])
def test_a_bad_word_is_one_sentence(
    shared: tuple[FakeAgent, Path],
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    code: int,
    said: str,
) -> None:
    """After the usage, where it is the command's own; the agent's port was not asked."""
    agent, path = shared
    agent.__init__()  # type: ignore[misc]
    socket = [] if words in ((), ("opne",), ("receipts",)) or "--socket" in words else ["--socket", str(path)]
    try:
        ended = cli.main([*words, *socket])
    except SystemExit as stopped:
        ended = int(stopped.code or 0)
    out, err = capsys.readouterr()
    assert (ended, out) == (code, ""), err
    *usage, sentence = err.splitlines()
    assert said in sentence
    assert sentence.isprintable()
    assert len(sentence) < 400
    assert all(line.startswith(("usage: ", " ")) for line in usage), err
    assert agent.asked == []


HALF = "half-a-lab"
BAD_OF_LAB: list[tuple[tuple[str, ...], int, str]] = [
    (("nosuch",), 2, "argument VERB: invalid choice: 'nosuch'"),
    (("up", "--gateways", "x"), 2, "argument --gateways: invalid int value: 'x'"),
    (("up", "--gateways", "0"), 1, "gateways must be 1 to 40, not 0"),
    (("up", "--gateways=-1"), 1, "gateways must be 1 to 40, not -1"),
    (("up", "--gateways", "999"), 1, "gateways must be 1 to 40, not 999"),
    (("up", "--push-delay", "1e3"), 2, "argument --push-delay: invalid int value: '1e3'"),
    (("up", "--push-delay", "0"), 1, "push delay must be at least 1 ms, not 0"),
    (("up", "extra"), 2, "unrecognized arguments: extra"),
    (("up", "--name", "../x"), 1, "name must be a lower-case letter"),
    (("down", "--name", "x" * 17), 1, "name must be a lower-case letter"),
    (("down", "--name", "a\n"), 1, "name must be a lower-case letter"),
    (("status", "--name", "no-such-lab"), 1, "lab 'no-such-lab' is not up"),
    (("reboot",), 2, "the following arguments are required: host"),
    (("reboot", "--name", "no-such-lab", "gw1"), 1, "lab 'no-such-lab' is not up"),
    (("power-cut", "--name", "no-such-lab", "gw1"), 1, "lab 'no-such-lab' is not up"),
    (("up", "--debian", "11"), 2, "argument --debian: must be 12 or 13, or some of them with commas, not '11'"),
    (("reboot", "--name", HALF, "gw9"), 1, f"there is no host 'gw9' in lab '{HALF}': it has ops gw1"),
    (("reboot", "--name", HALF, "ops"), 1, "ops is a network namespace, not a machine that boots: only gateways do"),
    (("power-cut", "--name", HALF, "../x"), 1, f"there is no host '../x' in lab '{HALF}': it has ops gw1"),
    (("exec", "--name", HALF, "gw9", "--", "true"), 1, f"there is no host 'gw9' in lab '{HALF}': it has ops gw1"),
    (("exec", "--name", "no-such-lab", "gw1"), 1, "exec needs a command"),
    (("exec", "--name", "no-such-lab", "gw1", "--", "true"), 1, "lab 'no-such-lab' is not up"),
]


@pytest.fixture
def half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lab that has a file with its hosts, and nothing that runs."""
    monkeypatch.setattr(paths, "STATE_ROOT", tmp_path)
    row = dict.fromkeys(("wan4", "wan6", "lan4", "lan6", "vpn4", "vpn6"))
    (tmp_path / HALF).mkdir()
    data = {"name": HALF, "state": str(tmp_path / HALF), "hosts": {"ops": row, "gw1": row}}
    (tmp_path / HALF / "lab.json").write_text(json.dumps(data))


@pytest.mark.usefixtures("half")
@pytest.mark.parametrize(("words", "code", "said"), BAD_OF_LAB, ids=str)
def test_a_bad_word_to_the_lab_is_one_sentence(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], code: int, said: str
) -> None:
    """Before anything is built or started."""
    try:
        ended = lab_cli.main([*words])
    except SystemExit as stopped:
        ended = int(stopped.code or 0)
    out, err = capsys.readouterr()
    assert (ended, out) == (code, ""), err
    *usage, sentence = err.splitlines()
    assert said in sentence
    assert all(line.startswith(("usage: ", " ")) for line in usage), err


PARSERS = {"sightglass": (cli._parser(), BAD), "lab": (lab_cli._parser(), BAD_OF_LAB)}
# What is asked for beside it, so that one word more is the only fault.
NEEDED = {
    ("open",): OPEN[1:],
    ("disable",): ("--reason", "a test asks"),
    ("enable",): ("--reason", "a test asks"),
    ("receipts", "verify"): ("window.json",),
    ("reboot",): ("gw1",),
    ("power-cut",): ("gw1",),
}
# Only the host itself knows its users, and only a lab that runs has one.
ELSEWHERE = {("lab", "exec", "--user")}


def verbs(
    parser: argparse.ArgumentParser, words: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser]]:
    """Each verb's words, with the parser of what follows them."""
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not below:
        yield words, parser
    for action in below:
        for name, one in action.choices.items():
            yield from verbs(one, (*words, name))


def is_about(action: argparse.Action, words: tuple[str, ...], said: str) -> bool:
    """Whether a row's fault is this option's or positional's: the last one that is named, or the word that is told."""
    if said.startswith(("unrecognized", "the following")):
        return False
    if not action.option_strings:
        return action.dest in said or any(word in said for word in words if not word.startswith("-"))
    named = [word.partition("=")[0] for word in words if word.startswith("--") and word != "--"]
    return bool(named) and named[-1] in action.option_strings


@pytest.mark.parametrize("command", PARSERS)
def test_every_option_that_takes_a_value_has_a_row(command: str) -> None:
    """One that several verbs share has one at any of them."""
    parser, rows = PARSERS[command]
    places: dict[int, list[str]] = {}
    told: set[int] = set()
    for verb, one in verbs(parser):
        for action in one._actions:
            name = action.option_strings[-1] if action.option_strings else action.dest
            if action.nargs == 0 or (command, *verb, name) in ELSEWHERE:
                continue
            places.setdefault(id(action), []).append(" ".join((*verb, name)))
            if any(
                words[: len(verb)] == verb and is_about(action, words[len(verb) :], said) for words, _, said in rows
            ):
                told.add(id(action))
    assert len(places) > 5, "the control: there are some"
    assert [names for key, names in places.items() if key not in told] == []


@pytest.mark.parametrize(
    ("command", "verb"),
    [(command, verb) for command, (parser, _) in PARSERS.items() for verb, _ in verbs(parser) if verb != ("exec",)],
    ids=str,
)
def test_a_verb_takes_no_word_more(capsys: pytest.CaptureFixture[str], command: str, verb: tuple[str, ...]) -> None:
    """What nobody reads is no wish that was granted; `exec` hands all of them to its command."""
    parser, _ = PARSERS[command]
    needed = NEEDED.get(verb, ())
    parser.parse_args([*verb, *needed])
    with pytest.raises(SystemExit) as stopped:
        parser.parse_args([*verb, *needed, "more"])
    assert stopped.value.code == 2
    assert capsys.readouterr().err.endswith("error: unrecognized arguments: more\n")
