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
    ledger.hear(record, head(n))
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
        assert f"event 9:{head(9)['hash']}, which" in said
    kept(tmp_path).accept("the card was replaced")
    assert hear(tmp_path, "same", 7) is None
    kept(tmp_path).accept("there is nothing to accept")
    assert "accepted" not in next(tmp_path.iterdir()).read_text().splitlines()[-1]


@pytest.mark.requirement("U5")
def test_two_playbooks_that_ask_at_once_do_not_put_the_ledger_back(tmp_path: Path) -> None:
    """The slower one heard less: its older head is not written behind the newer one. Another event in the same place is
    an alarm whoever hears it."""
    hear(tmp_path, "new", 3)
    slow, other = kept(tmp_path), kept(tmp_path)
    hear(tmp_path, "same", 7)
    slow.hear("same", head(5))
    assert kept(tmp_path).head == head(7)
    hear(tmp_path, "same", 9)
    assert kept(tmp_path).alarm is None, "the control"
    other.hear("same", {**head(9), "hash": "ab" * 32})
    assert kept(tmp_path).alarm["alarm"] == "rewritten"


@pytest.mark.requirement("U5")
@pytest.mark.parametrize(
    ("record", "chain"),
    [
        ("same", None),
        ("same", {"n": 4}),
        ("same", {**head(4), "n": "4"}),
        ("same", {**head(4), "n": True}),
        ("same", {**head(4), "n": -1}),
        ("same", {**head(4), "hash": "\x1b[2J"}),
        ("same", {**head(4), "first": ""}),
        ("same", [4]),
        ("fine", head(4)),
        ("new", head(4)),
        (["same"], head(4)),
    ],
)
def test_a_gateway_that_says_nonsense_leaves_the_ledger_as_it_was(tmp_path: Path, record: Any, chain: Any) -> None:
    """A line of its own making would keep the operators from opening there for good."""
    hear(tmp_path, "new", 3)
    before = next(tmp_path.iterdir()).read_bytes()
    with pytest.raises(plugin.LedgerError, match="its answer tells of no record: ") as said:
        kept(tmp_path).hear(record, chain)
    assert str(said.value).isprintable()
    assert next(tmp_path.iterdir()).read_bytes() == before


@pytest.mark.requirement("U5")
@pytest.mark.parametrize(
    ("chain", "name"),
    [
        (head(8), "shortened"),
        ({**head(9), "hash": "ab" * 32}, "rewritten"),
        ({**head(12), "first": "ab" * 32}, "restarted"),
    ],
)
def test_a_gateway_that_says_all_is_well_is_held_to_its_own_answer(
    tmp_path: Path, chain: dict[str, Any], name: str
) -> None:
    """What cannot be is an alarm whatever it says of it; the control: what can be is none."""
    hear(tmp_path, "new", 9)
    kept(tmp_path).hear("same", chain)
    found = kept(tmp_path).alarm
    assert (found["alarm"], found["known"]) == (name, head(9))
    assert hear(tmp_path / "control", "new", 9) is None
    assert hear(tmp_path / "control", "same", 9) is None


@pytest.mark.requirement("U5")
def test_operators_who_share_a_folder_share_the_ledger(tmp_path: Path) -> None:
    """A file of the first one's alone would keep the second one from opening anything."""
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o2770)
    hear(shared, "new", 3)
    assert next(shared.iterdir()).stat().st_mode & 0o777 == 0o660


@pytest.mark.requirement("U5")
def test_the_first_contact_cannot_be_an_alarm(tmp_path: Path) -> None:
    """Nothing is known of the site that its record could lack."""
    with pytest.raises(plugin.LedgerError, match="tells of no record"):
        kept(tmp_path).hear("shortened", head(4))
    kept(tmp_path).hear("new", {"n": 0, "hash": "00" * 32, "first": ""})
    assert kept(tmp_path).head["n"] == 0, "a site without any record yet"


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
@pytest.mark.parametrize(
    "line", [b"[]", b"{}", b'{"head":{"n":"3","hash":"","first":""}}', b"\xff", b"", b'{"alarm":"shortened"}']
)
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
