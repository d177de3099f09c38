"""Everything at once, and in the middle of everything: one window or none, nothing left, the next one opens."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from lab import wait
from lab.agent import post
from tests.lab.pinned import pinned
from tests.lab.window.site_under_test import Site


def _id() -> str:
    return f"crowd-{secrets.token_hex(6)}"


def crowd(site: Site, *request_ids: str) -> list[tuple[int, dict[str, Any]]]:
    """The answers to openings that arrive together."""
    body = {"cameras": ["cam1"], "minutes": 5, "purpose": "debug", "reason": "a crowd at the door"}
    asked = [("/v1/windows", {**body, "request_id": request_id}) for request_id in request_ids]
    return [(status, answer) for status, answer, _ in post(site.gateway, *asked, together=True)]


def next_one(site: Site) -> None:
    """Nothing is left, the record is whole, and a window opens and closes as ever."""
    site.wait_closed()
    site.wait_guards()
    site.verify()
    site.open()
    site.close()
    site.wait_closed()


def opening(site: Site) -> subprocess.Popen[str]:
    """Somebody opens a window; returns in the middle of it, when its shutter has just been asked for."""
    asked: subprocess.Popen[str] = site.gateway.popen(
        ["sightglass", "open", "--camera", "cam1", "--purpose", "debug", "--reason", "in the middle", "--json"],
        stdout=-1, stderr=-1, text=True,
    )  # fmt: skip
    wait.until(lambda: site.status()["state"] != "closed", 5, "the window begins")
    return asked


def ended(asked: subprocess.Popen[str]) -> tuple[int, str]:
    """What became of it: the exit code, and the line on stderr."""
    _, said = asked.communicate(timeout=45)
    return asked.returncode, said


@pytest.mark.requirement("O1")
@pytest.mark.requirement("U1")
@pytest.mark.parametrize("callers", [2, 20])
def test_one_request_many_times_at_once_is_one_window(site: Site, callers: int) -> None:
    """Everybody gets the same window; the record has one opening of it."""
    answers = crowd(site, *[_id()] * callers)
    assert {status for status, _ in answers} == {200}
    windows = {answer["id"] for _, answer in answers}
    assert len(windows) == 1
    events = [event["event"] for event in site.events(windows.pop())]
    assert events.count("opening") == events.count("opened") == 1
    next_one_after_close(site)


@pytest.mark.requirement("O1")
@pytest.mark.parametrize("callers", [2, 20])
def test_many_requests_at_once_have_one_winner(site: Site, callers: int) -> None:
    """The others are refused by one rule in one sentence, and leave no window in the record."""
    before = len([event for event in site.events() if event["event"] == "opening"])
    answers = crowd(site, *(_id() for _ in range(callers)))
    won = [answer for status, answer in answers if status == 200]
    refused = [answer for status, answer in answers if status != 200]
    assert len(won) == 1
    assert {answer["code"] for answer in refused} == {"second-window"}
    assert all("\n" not in answer["message"] for answer in refused)
    assert len([event for event in site.events() if event["event"] == "opening"]) == before + 1
    next_one_after_close(site)


def next_one_after_close(site: Site) -> None:
    """The control of the crowd: what it opened is open, closes, and another one follows."""
    assert site.status()["state"] == "open"
    site.close()
    next_one(site)


@pytest.mark.requirement("O5")
def test_an_opening_while_another_window_closes_is_refused_or_opens(site: Site) -> None:
    """Whichever it is, the answer says so, and there is never more than one window."""
    for _ in range(2):
        first = site.open()
        closing = site.gateway.popen(["sightglass", "close"], stdout=-1, text=True)
        answers = crowd(site, _id(), _id())
        closing.communicate(timeout=20)
        assert closing.returncode == 0
        won = [answer for status, answer in answers if status == 200]
        assert len(won) <= 1
        assert {answer["code"] for status, answer in answers if status != 200} <= {"second-window", "closing"}
        assert all(answer["id"] != first["id"] for answer in won)
        site.sightglass("close")
        site.wait_closed()
    next_one(site)


@pytest.mark.requirement("O5")
@pytest.mark.requirement("N3")
@pytest.mark.parametrize(
    ("words", "cause"), [(["close"], "closed"), (["disable", "--reason", "works on the road"], "disabled")]
)
def test_a_close_in_the_middle_of_an_opening(site: Site, words: list[str], cause: str) -> None:
    """The opening ends with that cause as its answer, and nothing of it is left."""
    asked = opening(site)
    done = site.sightglass(*words)
    assert done.returncode == 0, done.stderr
    code, said = ended(asked)
    assert not site.left()
    assert (code, said.count("\n")) in ((3, 1), (0, 0)), said
    assert code == 0 or f"refused ({cause})" in said
    assert site.cause(site.status()["last"]["id"]) == cause
    site.sightglass("enable", "--reason", "the road is free")
    next_one(site)


KILLS = [("shutter", "KILL"), ("shutter", "TERM"), ("agent", "KILL"), ("agent", "TERM")]


@pytest.mark.requirement("F1")
@pytest.mark.requirement("F3")
@pytest.mark.parametrize(("unit", "signal"), KILLS, ids=[f"{unit} {signal}" for unit, signal in KILLS])
def test_a_part_that_ends_in_the_middle_of_an_opening(site: Site, unit: str, signal: str) -> None:
    """The opening is refused in one sentence or loses its agent; closed, and the record tells."""
    before = site.status()["last"]
    asked = opening(site)
    wait.until(lambda: _runs(site, unit), 5, f"the {unit} is there")
    site.gateway.run(["systemctl", "kill", "-s", signal, f"sightglass-{unit}.service"])
    code, said = ended(asked)
    # 0: it had been open for a moment.
    assert code in (0, 3, 4), said
    assert said.count("\n") == (code != 0)
    wait.until(lambda: not site.left(), 20, "nothing is left")
    wait.until(lambda: site.sightglass("status").returncode == 0, 20, "the agent is back")
    site.wait_closed()
    last = [event for event in site.events() if event["window"] is not None][-1]
    assert last["event"] == "closed"
    assert before is None or last["window"] != before["id"]
    assert last["data"]["cause"] in ("shutter-lost", "agent-lost", "agent-stopped", "not-ready")
    next_one(site)


@pytest.mark.requirement("F3")
@pytest.mark.parametrize(("unit", "signal"), KILLS, ids=[f"{unit} {signal}" for unit, signal in KILLS])
def test_a_part_that_ends_in_the_middle_of_a_closing(site: Site, unit: str, signal: str) -> None:
    """Closed all the same."""
    site.open()
    kill = f"sightglass close & systemctl kill -s {signal} sightglass-{unit}.service; wait"
    site.gateway.run(["sh", "-c", kill], timeout=45)
    wait.until(lambda: not site.left(), 20, "nothing is left")
    wait.until(lambda: site.sightglass("status").returncode == 0, 20, "the agent is back")
    next_one(site)


_STAY = """
import os, signal, threading, time
from sightglass.sdnotify import notify
from sightglass.{unit}.main import main

def stay():
    while True:
        notify("EXTEND_TIMEOUT_USEC=20000000")
        notify("WATCHDOG=1")
        time.sleep(0.1)

# Before the thread, which has the mask of its maker.
signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.SIGTERM}})
threading.Thread(target=stay).start()
os._exit = lambda _code: time.sleep(600)
try:
    main()
finally:
    time.sleep(600)
"""


@pytest.mark.requirement("F3")
@pytest.mark.requirement("N3")
@pytest.mark.parametrize("unit", ["feed", "console"])
def test_a_part_that_is_taken_over_ends_with_its_window(site: Site, unit: str) -> None:
    """It ignores SIGTERM and asks systemd for more time, again and again: killed, at once. With SIGTERM first (the
    control) it would stay."""
    drop_in = f"/etc/systemd/system/sightglass-{unit}.service.d/taken-over.conf"
    program = "/opt/taken-over.py"
    command = f"/opt/sightglass/venv/bin/python {program} --channel /run/sightglass-{unit}.sock"
    take_over = f"[Service]\nExecStart=\nExecStart={command}\n"
    site.gateway.run(["mkdir", "-p", drop_in.rpartition("/")[0]])
    site.gateway.run(["tee", program], input=_STAY.format(unit=unit))
    try:
        for kill in ("", "KillSignal=SIGTERM\n"):
            site.gateway.run(["tee", drop_in], input=take_over + kill)
            site.gateway.run(["systemctl", "daemon-reload"])
            with pinned(site.gateway, drop_in):
                site.wait_guards()
                site.open()
                closing = site.gateway.popen(["sightglass", "close"], stdout=-1, text=True)
                wait.until(lambda: not _runs(site, "shutter"), 5, "the shutter has ended")
                if not kill:
                    site.wait_closed(2)
                else:
                    site.wait_frames(20)  # two seconds, and TimeoutStopSec=1
                    assert _runs(site, unit), "the control: it stays"
                    site.gateway.run(["systemctl", "kill", "-s", "KILL", f"sightglass-{unit}.service"])
                closing.communicate(timeout=20)
                assert closing.returncode == 0
    finally:
        site.gateway.run(["rm", "-r", drop_in.rpartition("/")[0], program])
        site.gateway.run(["systemctl", "daemon-reload"])
        site.gateway.run(["systemctl", "reset-failed", f"sightglass-{unit}.service"], check=False)


def _runs(site: Site, unit: str) -> bool:
    user = "sightglass" if unit == "agent" else f"sightglass-{unit}"
    return site.gateway.run(["pgrep", "-u", user], check=False).returncode == 0


_HOLD = """
import errno, socket, sys
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind((sys.argv[1], int(sys.argv[2])))
if sys.argv[3] == "listen":
    listener.listen()
print("ready", flush=True)
sys.stdin.readline()
try:
    listener.listen()
    print("listens", flush=True)
except OSError as error:
    print(errno.errorcode[error.errno], flush=True)
sys.stdin.read()
"""


@contextmanager
def held(site: Site, port: int, how: str) -> Iterator[subprocess.Popen[str]]:
    """A local user has the port of the join check (8800) or of the picture before us: listening, or only bound."""
    address = "127.0.0.1" if port == 8800 else str(site.gateway.vpn4)
    words = ["python3", "-c", _HOLD, address, str(port), how]
    holder = site.gateway.popen(words, user="nobody", stdin=-1, stdout=-1, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == "ready"
        yield holder
    finally:
        holder.kill()
        holder.communicate(timeout=5)


@pytest.mark.requirement("A1")
@pytest.mark.requirement("F3")
@pytest.mark.parametrize("port", [8800, 8554])
def test_who_listens_on_a_port_first_gets_no_window(site: Site, port: int) -> None:
    """The refusal is one sentence that names the port; without the listener (the control) one opens."""
    with held(site, port, "listen"):
        asked = site.ask_open()
        assert asked.returncode == 3
        assert asked.stderr.count("\n") == 1
        assert f":{port}" in asked.stderr.partition("refused (")[2], asked.stderr
    next_one(site)


@pytest.mark.requirement("A1")
@pytest.mark.requirement("F3")
def test_who_only_binds_the_join_checks_port_takes_nothing(site: Site) -> None:
    """The window opens, the place is not theirs to listen on while it lives, and viewers are let in by ours."""
    with held(site, 8800, "bind") as holder:
        site.open()
        answer = _listens(holder)
        assert answer == "EADDRINUSE"
        assert len(site.watch(frames=5)) == 5
        site.close()
        site.wait_closed()
    with held(site, 8800, "bind") as holder:
        assert _listens(holder) == "listens", "the control: without a window it is free"
    next_one(site)


def _listens(holder: subprocess.Popen[str]) -> str:
    assert holder.stdin is not None
    assert holder.stdout is not None
    holder.stdin.write("\n")
    holder.stdin.flush()
    return holder.stdout.readline().strip()
