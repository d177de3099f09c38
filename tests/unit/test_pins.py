"""What the roles have installed is what systemd starts: anything else beside our units is named."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import BinaryIO

import pytest

from sightglass.adapters import clock
from sightglass.adapters.pins import LOOK_S, Pins

UNIT = "/etc/systemd/system/sightglass-feed.service"
SOCKET = "/etc/systemd/system/sightglass-feed-channel.socket"
BINARY = "/opt/sightglass/bin/mediamtx"


class Gateway:
    """A gateway's files under a directory, and a clock that each look moves on."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.now = root, 100.0
        monkeypatch.setattr(clock, "boottime", lambda: self.now)
        self.pins = Pins(root / "pins.d", root)
        for path in (UNIT, SOCKET, BINARY):
            self.write(path, f"this is {path}")
        self.pin("agent", UNIT, SOCKET)
        self.pin("mediamtx", BINARY)

    def write(self, path: str, text: str) -> None:
        """A file on it."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def pin(self, name: str, *paths: str) -> None:
        """Write a role's list."""
        sums = {path: hashlib.sha256((self.root / path.lstrip("/")).read_bytes()).hexdigest() for path in paths}
        self.write(f"/pins.d/{name}.json", json.dumps(sums))

    def strange(self) -> str | None:
        """What a later look finds."""
        self.now += LOOK_S
        return self.pins.strange()


@pytest.fixture
def gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    made = Gateway(tmp_path, monkeypatch)
    assert made.strange() is None, "the control: as it was installed"
    return made


@pytest.mark.requirement("F3")
@pytest.mark.parametrize("path", [UNIT, SOCKET, BINARY])
def test_a_file_that_was_changed_is_named(gateway: Gateway, path: str) -> None:
    """And is no longer, when it is as it was."""
    gateway.write(path, "something else")
    assert gateway.strange() == f"{path} is not the file that was installed"
    gateway.write(path, f"this is {path}")
    assert gateway.strange() is None
    (gateway.root / path.lstrip("/")).unlink()
    assert "cannot be compared" in str(gateway.strange())


@pytest.mark.requirement("F3")
@pytest.mark.parametrize(
    "path",
    [
        "/etc/systemd/system/sightglass-feed.service.d/x.conf",
        "/run/systemd/system/sightglass-feed.service.d/x.conf",
        "/run/systemd/system/sightglass-.service.d/x.conf",
        "/etc/systemd/system/service.d/x.conf",
        "/usr/lib/systemd/system/socket.d/x.conf",
        "/usr/local/lib/systemd/system/sightglass-feed-.socket.d/x.conf",
        "/etc/systemd/system.control/sightglass-feed.service.d/50-MemoryMax.conf",
        "/run/systemd/transient/sightglass-feed.service",
        "/run/systemd/generator.early/sightglass-feed.service",
        "/lib/systemd/system/sightglass-feed.service",
    ],
)
def test_whatever_else_systemd_would_read_for_a_unit_of_ours_is_named(gateway: Gateway, path: str) -> None:
    """Wherever it lies; declared, it is as good as a role's."""
    gateway.write(path, "[Service]\nEnvironment=MTX_RTSPADDRESS=:8554\n")
    assert gateway.strange() == f"{path} is not pinned: it changes a unit of ours"
    gateway.pin("site", path)
    assert gateway.strange() is None


@pytest.mark.parametrize(
    "path",
    [
        "/etc/systemd/system/mosquitto.service.d/x.conf",
        "/etc/systemd/system/sightglass-feed.service.d/notes.txt",
        "/etc/systemd/system/other-.service.d/x.conf",
        "/etc/systemd/system/timer.d/x.conf",
    ],
)
def test_what_is_not_ours_is_nobodys_business(gateway: Gateway, path: str) -> None:
    """The site's own units are the site's."""
    gateway.write(path, "[Service]\n")
    assert gateway.strange() is None


@pytest.mark.requirement("F3")
def test_a_timer_of_ours_is_a_unit_of_ours(gateway: Gateway) -> None:
    """Where the figures are written, its drop-ins count, too."""
    timer = "/etc/systemd/system/sightglass-metrics.timer"
    gateway.write(timer, "[Timer]\n")
    gateway.pin("metrics", timer)
    assert gateway.strange() is None, "the control: pinned as it is"
    gateway.write(f"{timer}.d/x.conf", "[Timer]\n")
    assert gateway.strange() == f"{timer}.d/x.conf is not pinned: it changes a unit of ours"


@pytest.mark.requirement("F3")
def test_an_opening_does_not_believe_an_earlier_look(gateway: Gateway) -> None:
    """A file that went away in between is named at once, not half a second later."""
    gateway.write(UNIT, "something else")
    assert gateway.pins.strange() is None, "the control: within a window, a look serves for half a second"
    gateway.pins.forget()
    assert gateway.pins.strange() == f"{UNIT} is not the file that was installed"


@pytest.mark.requirement("F3")
@pytest.mark.parametrize("text", ["", "[]", "{", '{"/x": 1}', "[1]", '"x"'])
def test_pins_that_cannot_be_read_are_no_pins(gateway: Gateway, text: str) -> None:
    """Unknown is no."""
    gateway.write("/pins.d/agent.json", text)
    gateway.write("/pins.d/mediamtx.json", text)
    assert gateway.strange() is not None


@pytest.mark.requirement("N2")
def test_a_file_is_read_when_it_has_changed_only(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream server of 50 MB twice a second would cost more than the guard is worth."""
    read: list[str] = []
    real = hashlib.file_digest

    def counted(file: BinaryIO, kind: str) -> object:
        read.append(str(file.name))
        return real(file, kind)  # type: ignore[arg-type]

    monkeypatch.setattr(hashlib, "file_digest", counted)
    assert [gateway.strange() for _ in range(5)] == [None] * 5
    assert read == []
    gateway.write(BINARY, "another")
    gateway.strange()
    assert read == [str(gateway.root / BINARY.lstrip("/"))]
