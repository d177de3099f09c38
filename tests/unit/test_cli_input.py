"""Bad input to each option of each verb of `sightglass` and `lab`: one sentence, field, rule and value; no effect."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import cli as lab_cli
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
    (("close", "--reason", "no"), 3, "reason: must have 5 to 200 characters, it has 2"),
    (("disable",), 2, "the following arguments are required: --reason"),
    (("disable", "--reason", "no"), 3, "reason: must have 5 to 200 characters, it has 2"),
    (("enable",), 2, "the following arguments are required: --reason"),
    (("enable", "--reason", "a\tb\tc"), 3, f"reason: {LINE}"),
    (("enable", "--reason", "a test asks", "--fleet=yes"), 2, "argument --fleet: ignored explicit argument 'yes'"),
    (("guards", "--purpose", ""), 2, "argument --purpose: invalid choice: ''"),
    (("guards", *(word for n in range(5) for word in ("--camera", f"c{n}"))), 3, "camera: must have at most 4 items"),
    (("receipts",), 2, "the following arguments are required"),
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
    socket = ["--socket", str(path)] if words and words != ("opne",) and words != ("receipts",) else []
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


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
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
        (("exec", "--name", "no-such-lab", "gw1"), 1, "exec needs a command"),
        (("exec", "--name", "no-such-lab", "gw1", "--", "true"), 1, "lab 'no-such-lab' is not up"),
    ],
    ids=str,
)
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
