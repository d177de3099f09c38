"""What the doctor looks with: the command beside any agent, the look at a camera, the playbook's rows."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from sightglass import cli, cli_doctor
from sightglass.agent import Agent
from sightglass.api import app
from sightglass.api.port import FindingView
from sightglass.doctor import examine, host, site
from sightglass.feed import look
from sightglass.refusal import Refusal
from tests.unit.api_parts import FakeAgent
from tests.unit.plugins import loaded

pytestmark = pytest.mark.requirement("U1")
JPEG = b"\xff\xd8\xff\xe0\x00\x04ab\xff\xc0\x00\x11\x08\x02\xd0\x05\x00\x03" + bytes(9)
ACTIVE = (
    "LoadState=loaded\nActiveState=active\nSubState=running\nUnitFileState=enabled\nNeedDaemonReload=no\nNRestarts=0"
)
SYSTEMD = "\n\n".join(f"Id={name}\n{ACTIVE}" for name in (host.AGENT, *host.UNITS))
FAILED = SYSTEMD.replace(
    "ActiveState=active\nSubState=running", "ActiveState=failed\nSubState=failed\nResult=exit-code\nExecMainStatus=2", 1
)


@pytest.fixture
def systemd(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What systemctl says; the other commands, and root's look at the kernel, are left out."""
    said = [SYSTEMD]

    def run(words: list[str], seconds: float) -> tuple[int, str, str] | None:
        if words[0] == "systemctl":
            return 0, said[0], ""
        if words[0] == "timedatectl":
            return 0, "NTPSynchronized=yes\n", ""
        return (2, "", "agent.json: site: is missing\n") if words[0].endswith("sightglass-agent") else None

    monkeypatch.setattr(cli_doctor, "_run", run)
    monkeypatch.setattr(cli_doctor, "_rules", list)
    return said


def test_what_the_agent_and_systemd_say_is_one_answer(
    agent: FakeAgent, path: Path, systemd: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """0 with warnings alone, 1 with anything that fails or is unknown; the same as JSON."""
    assert systemd
    assert cli.main(["doctor", "--socket", str(path)]) == 0
    assert capsys.readouterr().out == (
        f"ok      agent: it answers; {host.AGENT} is active (running)\n"
        "ok      vpn: it runs\n"
        "ok      units: 5 units wait for a window\n"
        "ok      time source: a time service keeps the clock\n"
        "4 ok\n"
    )
    for verdict, code in (("warn", 0), ("unknown", 1), ("fail", 1)):
        agent.findings = (FindingView("vpn", verdict, "\x1b[2Jodd", "mend it"),)
        assert cli.main(["doctor", "--json", "--socket", str(path)]) == code
        answer = json.loads(capsys.readouterr().out)
        assert (answer["ok"], answer["findings"][1]["verdict"]) == (code == 0, verdict)
        assert cli.main(["doctor", "--socket", str(path)]) == code
        assert "\x1b" not in capsys.readouterr().out


def test_without_an_agent_it_says_why(tmp_path: Path, systemd: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The unit's end and the configuration's fault; everything that only the agent sees is unknown."""
    systemd[0] = FAILED
    assert cli.main(["doctor", "--socket", str(tmp_path / "none.sock")]) == 1
    said = capsys.readouterr().out
    assert "it ended with status 2, for it cannot use its configuration" in said
    assert "    agent.json: site: is missing\n" in said
    assert "unknown the rest\n" in said


def test_who_is_no_operator_is_refused(
    path: Path, systemd: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the agent's rule, with its sentence and no finding."""
    assert systemd

    def refuse(caller: object) -> None:
        raise Refusal("not-an-operator", f"{caller} is none", 403)

    monkeypatch.setattr(app, "caller_of", lambda _: refuse("ann"))
    assert cli.main(["doctor", "--socket", str(path)]) == 3
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "refused (not-an-operator): ann is none\n")


def test_an_agent_that_never_answers_is_left_in_time(
    tmp_path: Path, systemd: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It accepts and says nothing; one that systemd starts again and again is waited for a quarter as long."""
    monkeypatch.setattr(cli_doctor, "_AGENT_S", 2.0)
    took = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "mute.sock"))
        listener.listen()
        for said in (SYSTEMD, FAILED.replace("=failed", "=activating", 1).replace("NRestarts=0", "NRestarts=7", 1)):
            systemd[0] = said
            began = time.monotonic()
            assert cli.main(["doctor", "--socket", str(tmp_path / "mute.sock")]) == 1
            took.append(time.monotonic() - began)
    assert 2.0 <= took[0] < 3.0
    assert 0.5 <= took[1] < 1.5
    assert "no answer within 2 s" in capsys.readouterr().out


def test_a_command_that_hangs_is_ended() -> None:
    """systemctl, nft and the others get their time and no more; one that is not there is no answer either."""
    began = time.monotonic()
    assert cli_doctor._run(["sleep", "30"], 0.2) is None
    assert time.monotonic() - began < 2
    assert cli_doctor._run(["no-such-command"], 0.2) is None
    assert cli_doctor._run(["echo", "here"], 5) == (0, "here\n", "")


Serve = Callable[[socket.socket], None]


def _served(serve: Serve) -> str:
    """A server for one connection; its URL."""
    listener = socket.create_server(("127.0.0.1", 0))

    def run() -> None:
        connection, _ = listener.accept()
        with listener, connection:
            connection.recv(4096)
            serve(connection)

    threading.Thread(target=run, daemon=True).start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}/mjpeg/cam1?token=geheim"


def _part(jpeg: bytes) -> bytes:
    return b"--b\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n" % (len(jpeg), jpeg)


def _stream(pictures: Iterator[bytes]) -> Serve:
    def serve(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=b\r\n\r\n")
        end = time.monotonic() + 5
        while time.monotonic() < end:
            try:
                connection.sendall(_part(next(pictures)))
            except OSError:
                return
            threading.Event().wait(0.1)

    return serve


def test_a_stream_is_measured_for_a_moment() -> None:
    """Size by the picture's head, rate by pictures that differ; it ends though the stream does not."""
    began = time.monotonic()
    found = look.look(_served(_stream(JPEG + bytes([n]) for n in range(100))))
    assert time.monotonic() - began < look.LOOK_S
    assert found["size"] == (1280, 720)
    assert 8 <= found["pictures"] / found["seconds"] <= 13
    assert look.look(_served(_stream(JPEG for _ in range(100))))["pictures"] == 1, "always the same one"


@pytest.mark.parametrize(
    ("serve", "trouble"),
    [
        (lambda c: c.sendall(b"HTTP/1.0 404 Not Found\r\n\r\n"), "404 Not Found"),
        (lambda c: c.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n<p>"), "multipart"),
        (lambda c: c.sendall(b"220 mail\r\n\r\n"), "220 mail"),
        (lambda _: threading.Event().wait(6), "no new frame for 2 s"),
        (lambda c: c.sendall(b"x" * 20_000), "longer than"),
        (lambda _: None, "ended the stream"),
    ],
    ids=["404", "page", "mail", "silent", "endless head", "closes"],
)
def test_a_server_that_is_no_camera_is_named_in_time(serve: Serve, trouble: str) -> None:
    """By what it answered, without the URL's path and query."""
    began = time.monotonic()
    found = look.look(_served(serve))
    assert time.monotonic() - began < 5
    assert trouble in found["trouble"]
    assert "geheim" not in json.dumps(found)


def test_nobody_there_is_named() -> None:
    """A port that nobody has; a name that nobody knows is the resolver's word and tried in the lab."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert look.look(f"http://127.0.0.1:{port}/") == {"trouble": "Connection refused"}


@pytest.mark.parametrize("jpeg", [b"", b"\xff\xd8", b"\xff\xd8\xff\xe0\xff\xff", b"GIF89a" + bytes(20), JPEG[:12]])
def test_what_is_no_picture_has_no_size(jpeg: bytes) -> None:
    """Cut off anywhere, or something else."""
    assert look.dimensions(jpeg) is None
    assert look.dimensions(JPEG) == (1280, 720)


def test_the_look_is_a_process_that_reads_urls_from_its_input() -> None:
    """Not from its arguments, which every local user may read."""
    url = _served(_stream(JPEG + bytes([n]) for n in range(100)))
    done = subprocess.run(
        [sys.executable, "-I", "-m", "sightglass.feed.look"], input=json.dumps({"cam1": url}) + "\n",
        capture_output=True, text=True, timeout=20, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout)["cam1"]["size"] == [1280, 720]


def _examined(**urls: str) -> dict[str, site.Look]:
    """What an agent with these cameras sees of them."""
    cameras = {name: SimpleNamespace(url=url) for name, url in urls.items()}
    agent = SimpleNamespace(live=None, config=SimpleNamespace(cameras=cameras))
    return asyncio.run(examine.Examiner(cast(Agent, agent))._look())


def test_as_many_cameras_as_a_site_may_have_are_all_seen_in_time() -> None:
    """All of them healthy, each watched for its moment."""
    urls = {f"cam{n}": _served(_stream(JPEG + bytes([n]) for n in range(100))) for n in range(16)}
    began = time.monotonic()
    found = _examined(**urls)
    assert time.monotonic() - began < 4 * look.SEEN_S < examine.CAMERAS_S, "four at once would take longer"
    assert {name: seen.size for name, seen in found.items()} == dict.fromkeys(urls, (1280, 720))


def test_a_camera_is_told_of_as_soon_as_it_was_seen() -> None:
    """A slow one beside it delays nobody's line."""

    def slow(_: socket.socket) -> None:
        threading.Event().wait(6)

    urls = {"slow": _served(slow), "cam1": _served(lambda _: None)}
    words = [sys.executable, "-I", "-m", "sightglass.feed.look"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as looking:
        assert looking.stdin is not None
        assert looking.stdout is not None
        looking.stdin.write(json.dumps(urls) + "\n")
        looking.stdin.flush()
        told = [(next(iter(json.loads(line))), time.monotonic()) for line in looking.stdout]
    assert [name for name, _ in told] == ["cam1", "slow"]
    assert told[1][1] - told[0][1] > 1


def test_what_was_said_counts_when_the_look_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Half a line does not, and the camera that hung is the one that nobody saw."""
    script = tmp_path / "look"
    seen = json.dumps({"cam1": {"pictures": 12, "size": [1280, 720], "seconds": 1.2}})
    script.write_text(f"#!/bin/sh\necho '{seen}'\nprintf '%s' '{{\"cam2\": {{\"pic'\nexec sleep 60\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    monkeypatch.setattr(examine, "CAMERAS_S", 1.0)
    assert _examined(cam1="http://127.0.0.1/", cam2="http://127.0.0.1/") == {"cam1": site.Look(12, (1280, 720), 1.2)}


def test_a_look_that_ends_before_it_has_read_leaves_no_trace(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody was seen, and the journal has nothing of it. A pipe fails here with Debian 12's Python."""
    monkeypatch.setattr(sys, "executable", "/bin/true")
    assert _examined(**{f"cam{n}": "http://camera.example/" + "x" * 100_000 for n in range(4)}) == {}
    gc.collect()
    assert caplog.records == []


def test_a_port_that_swallows_is_told_from_one_that_refuses() -> None:
    """Without the gate the probe is refused at once; a bound socket that says nothing looks like the gate."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        mute.bind(("127.0.0.1", 0))
        port = mute.getsockname()[1]
        assert examine._swallowed(port) == (True, True)
    assert examine._swallowed(port) == (False, True)


def test_the_probe_binds_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bound socket of the agent's is a listener that ends a window: seen, by the doctor's own first probe."""

    class Unbound(socket.socket):
        def bind(self, address: object) -> None:
            raise AssertionError(f"bound to {address}")

    monkeypatch.setattr(socket, "socket", Unbound)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control, pytest.raises(AssertionError, match="bound to"):
        control.bind(("127.0.0.1", 0))
    assert examine._swallowed(2) == (False, True)


def test_where_the_feed_may_go_is_read_from_the_gates_file(tmp_path: Path) -> None:
    """Nothing else that looks like an address; no file, no word."""
    file = tmp_path / "nftables.nft"
    file.write_text(
        "define sightglass_hook4 = 127.0.0.1\n"
        "  set sources4 { type ipv4_addr . inet_service;\n elements = { 127.0.0.1 . 8000 , 127.0.0.1 . 8001 }; }\n"
        "  set sources6 { type ipv6_addr . inet_service; elements = { ::1 . 8002 }; }\n"
    )
    assert examine._sources(file) == frozenset({("127.0.0.1", 8000), ("127.0.0.1", 8001), ("::1", 8002)})
    assert examine._sources(tmp_path / "none") is None


def test_the_playbook_counts_only_who_was_seen_to_be_sound() -> None:
    """Whatever else a gateway answers, or none, is not; in the order of their numbers."""
    filters = loaded("filter_plugins/sightglass_fleet.py")
    finding = {"part": "vpn", "verdict": "fail", "evidence": "down", "do": "up"}
    fine = {"part": "mtu", "verdict": "ok", "evidence": "1280", "do": ""}
    rows = filters.diagnosed({
        "gw10": {"rc": 1, "stdout": json.dumps({"ok": False, "summary": "1 ok, 1 fail", "findings": [fine, finding]})},
        "gw2": {"rc": 0, "stdout": json.dumps({"ok": True, "summary": "1 ok", "findings": [fine]})},
        "gw3": {"unreachable": True, "msg": "advice\nssh: connect to host: timed out"},
        "gw4": {"rc": 3, "stdout": "", "stderr": "refused (not-an-operator): ann is none"},
        "gw5": {"rc": 0, "stdout": json.dumps({"ok": "true", "summary": "", "findings": []})},
        "gw6": {"failed": True, "msg": "[Errno 2] No such file"},
        "gw7": {"rc": 0, "stdout": "[]"},
        "gw8": None,
    })  # fmt: skip
    assert [(row["site"], row["sound"]) for row in rows] == [
        ("gw2", True), *((f"gw{n}", False) for n in (3, 4, 5, 6, 7, 8, 10))]  # fmt: skip
    lines = filters.diagnoses(rows, False)
    assert lines[:3] == [
        "gw2: 1 ok",
        "gw3: unreachable: ssh: connect to host: timed out",
        "gw4: refused (not-an-operator): ann is none",
    ]
    assert lines[-4:] == ["gw10: 1 ok, 1 fail", "  fail    vpn", "      down", "      do: up"]
    assert "  ok      mtu: 1280" in filters.diagnoses(rows, True)
