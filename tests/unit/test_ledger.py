"""The controller's ledger: what it keeps of each site's record, and what it says when that does not go on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.unit.plugins import loaded

pytest.importorskip("ansible")

FIRST = "11" * 32


plugin = loaded("action_plugins/sightglass_window.py")


def head(n: int) -> dict[str, Any]:
    """A chain's newest event."""
    return {"n": n, "hash": f"{n:02}" * 32, "first": FIRST}


def kept(directory: Path, site: str = "north") -> Any:
    """The ledger of a site as the next playbook finds it."""
    found = plugin.Ledger(directory, site)
    found.read()
    return found


def hear(directory: Path, record: str, n: int, site: str = "north") -> str | None:
    """A gateway's answer arrives; what the controller says of it."""
    ledger = kept(directory, site)
    plugin._remember(ledger, {"record": record, "chain": head(n)})
    said: str | None = plugin._sentence(ledger, site)
    return said


@pytest.mark.requirement("U5")
def test_the_newest_head_of_each_site_is_kept(tmp_path: Path) -> None:
    """One file a site, readable by its owner alone, with a line for each new head and none for an old one."""
    assert kept(tmp_path / "ledger").head is None
    for n in (3, 5, 5):
        assert hear(tmp_path / "ledger", "same", n) is None
    assert kept(tmp_path / "ledger").head == head(5)
    assert kept(tmp_path / "ledger", "south").head is None
    (file,) = (tmp_path / "ledger").iterdir()
    assert len(file.read_text().splitlines()) == 2
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)


@pytest.mark.requirement("U5")
@pytest.mark.parametrize("name", ["shortened", "rewritten", "restarted"])
def test_an_alarm_stays_until_somebody_accepts_it(tmp_path: Path, name: str) -> None:
    """Named at this contact and at each later one, with the event that was seen; then no more."""
    hear(tmp_path, "new", 9)
    for said in (hear(tmp_path, name, 4), hear(tmp_path, "same", 6)):
        assert said is not None
        assert said.startswith(f"north: its record was {name} (seen ")
        assert "event 9 (090909090909…)" in said
    kept(tmp_path).add({"accepted": "the card was replaced", "head": head(6)})
    assert hear(tmp_path, "same", 7) is None


@pytest.mark.requirement("U5")
def test_a_torn_last_line_was_never_believed(tmp_path: Path) -> None:
    """A power cut of the controller loses nothing that anybody has relied on, and the next line is whole."""
    hear(tmp_path, "new", 3)
    file = next(tmp_path.iterdir())
    with file.open("ab") as torn:
        torn.write(b'{"at":"2026')
    assert kept(tmp_path).head == head(3)
    hear(tmp_path, "same", 4)
    assert kept(tmp_path).head == head(4)


@pytest.mark.requirement("U5")
@pytest.mark.parametrize("line", [b"[]", b"{}", b'{"head":{"n":"3","hash":"","first":""}}', b"\xff", b""])
def test_a_line_that_is_none_is_named(tmp_path: Path, line: bytes) -> None:
    """A ledger that somebody has edited is not believed in part."""
    hear(tmp_path, "new", 3)
    file = next(tmp_path.iterdir())
    file.write_bytes(file.read_bytes() + line + b"\n")
    with pytest.raises(plugin.LedgerError, match="line 2, is no line of a ledger"):
        kept(tmp_path)


@pytest.mark.requirement("U5")
def test_a_full_disk_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is half written."""
    hear(tmp_path, "new", 3)

    def full(_fd: int, _text: bytes) -> int:
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as disk:
        disk.setattr(os, "write", full)
        with pytest.raises(plugin.LedgerError, match="cannot be written: No space left"):
            hear(tmp_path, "same", 4)
    assert kept(tmp_path).head == head(3)


def test_a_site_is_one_file_whatever_it_is_called(tmp_path: Path) -> None:
    """No name leads out of the directory."""
    hear(tmp_path, "new", 3, "../../etc/north")
    assert [path.name for path in tmp_path.iterdir()] == ["..%2F..%2Fetc%2Fnorth.jsonl"]
