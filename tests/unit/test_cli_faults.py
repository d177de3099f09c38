"""The command line beside a broken world: no agent, answers without sense, full disks, and readers who go away."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from sightglass import cli
from sightglass.who import OPERATORS
from tests.unit.api_parts import ANSWER_S, FakeAgent

REASON = ["--reason", "align the camera"]
OPEN = ["open", "--camera", "cam1", *REASON]


@pytest.mark.requirement("O1")
@pytest.mark.parametrize(
    "words",
    [["status"], OPEN, ["close"], ["disable", *REASON], ["enable", *REASON], ["guards"], ["receipts", "show"],
     ["receipts", "export"], ["receipts", "verify"]],
    ids=" ".join,
)  # fmt: skip
def test_without_an_agent_there_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    """Exit code 4."""
    path = tmp_path / "none.sock"
    assert cli.main([*words, "--socket", str(path)]) == 4
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", f"no answer from the agent at {path}: No such file or directory\n")


def typed_by(uid: int, path: Path, said: Connection) -> None:
    """The command in a process of this user."""
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        code = cli.main(["status", "--socket", str(path)])
    said.send((code, out.getvalue(), err.getvalue()))


@pytest.mark.requirement("O1")
@pytest.mark.parametrize(("uid", "who"), [(65534, "nobody"), (61234, "uid 61234")])
def test_who_may_not_ask_is_told_so(path: Path, uid: int, who: str) -> None:
    """The agent is well: its socket is its operators'. The control: with another mode it answers."""
    for mode, answer in ((0o600, (3, "", f"refused (not-an-operator): {who} is not in the group {OPERATORS}\n")),
                         (0o666, (0, "lab-gw1: closed\n", ""))):  # fmt: skip
        path.chmod(mode)
        ours, theirs = multiprocessing.Pipe()
        process = multiprocessing.get_context("fork").Process(target=typed_by, args=(uid, path, theirs))
        process.start()
        assert ours.poll(ANSWER_S)
        assert ours.recv() == answer
        process.join(ANSWER_S)


@pytest.mark.requirement("O1")
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"", "no answer from the agent at PATH: Remote end closed connection without response"),
        (b"SSH-2.0-nothing\r\n", "no answer from the agent at PATH: SSH-2.0-nothing"),
        (b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy",
         "no answer from the agent at PATH: 503 Service Unavailable, and no JSON"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
         "no answer from the agent at PATH: its answer is no object"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
         "the agent at PATH speaks another language: KeyError('site')"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}", "no answer from the agent at PATH: IncompleteRead"),
    ],
    ids=["closed", "no HTTP", "busy", "list", "empty object", "cut off"],
)  # fmt: skip
def test_an_answer_that_makes_no_sense_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], answer: bytes, said: str
) -> None:
    """Whatever listens there."""
    path = tmp_path / "agent.sock"
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as listener:
        listener.settimeout(ANSWER_S)
        listener.bind(str(path))
        listener.listen()

        def once() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(ANSWER_S)
                connection.recv(4096)
                connection.sendall(answer)

        thread = threading.Thread(target=once)
        thread.start()
        code = cli.main(["status", "--socket", str(path)])
        thread.join(ANSWER_S)
    out, err = capsys.readouterr()
    assert (code, out) == (4, "")
    assert err.startswith(said.replace("PATH", str(path)))
    assert err.count("\n") == 1


def spawn(*words: str, **options: Any) -> subprocess.Popen[str]:
    """The command as a process of its own, which an interrupt reaches: a shell's background jobs inherit it ignored."""
    return subprocess.Popen(
        [sys.executable, "-m", "sightglass.cli", *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL), **options,
    )  # fmt: skip


@pytest.mark.requirement("U5")
def test_a_reader_who_has_seen_enough_is_no_error(agent: FakeAgent, path: Path) -> None:
    """`receipts show | head -1`."""
    agent.events = [
        {"n": n, "at": "2026-11-23T10:00:00.000+00:00", "window": "w-1", "event": "joined", "data": {}, "who": None}
        for n in range(1, 400)
    ]
    with spawn("receipts", "show", "--socket", str(path)) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(ANSWER_S) == 0


@pytest.mark.requirement("N3")
def test_a_terminal_without_the_letters_is_no_error(agent: FakeAgent, path: Path) -> None:
    """A name is shown as far as the terminal can."""
    agent.off = [{"cause": "disabled", "at": "now", "user": "Łukasz", "reason": "works on the road"}]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    with spawn("status", "--socket", str(path), env=environment) as process:
        out, err = process.communicate(timeout=ANSWER_S)
    assert (process.returncode, err) == (0, "")
    assert "disabled by \\u0141ukasz" in out


@pytest.mark.requirement("O1")
def test_an_interrupt_ends_it_without_a_trace(tmp_path: Path) -> None:
    """Somebody does not want to wait for the answer."""
    path = tmp_path / "agent.sock"
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as listener:
        listener.settimeout(ANSWER_S)
        listener.bind(str(path))
        listener.listen()
        with spawn("status", "--socket", str(path)) as process:
            connection, _ = listener.accept()
            with connection:
                process.send_signal(signal.SIGINT)
                out, err = process.communicate(timeout=ANSWER_S)
    assert (process.returncode, out, err) == (130, "", "")


@pytest.mark.requirement("U4")
def test_it_starts_with_the_standard_library_only() -> None:
    """Everything it loads, also what those modules load, is Python's own: this is why it answers at once."""
    script = "import sys, sightglass.cli; print(*{name.partition('.')[0] for name in sys.modules})"
    before = subprocess.run(
        [sys.executable, "-c", "import sys; print(*{name.partition('.')[0] for name in sys.modules})"],
        capture_output=True, text=True, timeout=ANSWER_S, check=True,
    )  # fmt: skip
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=ANSWER_S, check=True)
    own = set(done.stdout.split()) - set(before.stdout.split())
    assert own - set(sys.stdlib_module_names) == {"sightglass"}
    assert "asyncio" not in own


@pytest.mark.requirement("U4")
def test_it_starts_as_quickly_as_what_it_is_made_of(tmp_path: Path) -> None:
    """Counted in processor time, beside the three modules of Python's own that it cannot do without; it takes twice
    theirs, FastAPI alone fourteen times. The best of five, in turn: how quick the machine is does not matter."""
    asked, parts = [], []
    for _ in range(5):
        with spawn("status", "--socket", str(tmp_path / "none.sock")) as process:
            asked.append(_spent(process, 4))
        words = [sys.executable, "-c", "import argparse, http.client, json"]
        with subprocess.Popen(words, text=True) as process:
            parts.append(_spent(process, 0))
    assert min(asked) < 4 * min(parts)


def _spent(process: subprocess.Popen[str], ends: int) -> float:
    """Seconds of processor time of a process, which must end so."""
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == ends
    return used.ru_utime + used.ru_stime


@pytest.mark.requirement("O1")
@pytest.mark.parametrize("more", [[], ["--json"]], ids=["text", "json"])
def test_a_full_disk_does_not_hide_that_a_window_is_open(agent: FakeAgent, path: Path, more: list[str]) -> None:
    """It said that no agent had answered, and the window was open."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "sightglass.cli", *OPEN, *more, "--socket", path],
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=ANSWER_S, check=False,
        )  # fmt: skip
    said = "the agent has answered, but its answer cannot be written: No space left on device\n"
    assert (done.returncode, done.stderr) == (1, said)
    assert agent.window is not None


@pytest.mark.requirement("O1")
def test_a_fault_of_the_agent_is_no_refusal(agent: FakeAgent, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A refusal changed nothing; of a fault nobody knows, so its exit code is another one."""
    agent.fault = RuntimeError("inside")
    assert cli.main([*OPEN, "--socket", str(path)]) == 4
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "the agent failed at this: RuntimeError; see its log, and `sightglass status`\n"


@pytest.mark.requirement("O2")
def test_bytes_that_are_no_text_are_asked_as_they_are(agent: FakeAgent, path: Path) -> None:
    """A name typed in another encoding: the agent says what it thinks of it."""
    with spawn("guards", "--camera", "caf\udce9", "--socket", str(path)) as process:
        _, said = process.communicate(timeout=ANSWER_S)
    assert process.returncode == 3
    assert "camera.0: must match pattern" in said
    assert said.endswith('not "caf\\ufffd"\n')
    assert agent.asked == []


@pytest.mark.requirement("U5")
def test_no_events_are_no_lines(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing, instead of one empty line that a script would count."""
    assert cli.main(["receipts", "show", "--socket", str(path)]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.requirement("O5")
def test_status_says_why_the_last_window_ended(
    agent: FakeAgent, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The cause's name and its sentence."""
    assert cli.main([*OPEN, "--socket", str(path)]) == 0
    assert agent.window is not None
    agent.last, agent.window = dataclasses.replace(agent.window, cause="lane", why="the lane moves\x1b[2J"), None
    capsys.readouterr()
    assert cli.main(["status", "--socket", str(path)]) == 0
    assert capsys.readouterr().out == "lab-gw1: closed\n  last window w-0123456789ab: lane (the lane moves\ufffd[2J)\n"
