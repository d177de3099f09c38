"""What is carried to a gateway, what is kept of an attempt that broke off, and what is refused beforehand."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from tests.unit.plugins import loaded

SENT = bytes(range(256)) * 64


@pytest.fixture(scope="module")
def action() -> ModuleType:
    """The action `sightglass_payload`."""
    return loaded("../../roles/sightglass_payload/action_plugins/sightglass_payload.py")


@pytest.fixture(scope="module")
def complaint() -> ModuleType:
    """The action `sightglass_checksums`."""
    return loaded("../../roles/sightglass_payload/action_plugins/sightglass_checksums.py")


@pytest.mark.requirement("N3")
@pytest.mark.parametrize(
    ("left", "kept"),
    [
        (SENT[:1], True),
        (SENT[:5000], True),
        (SENT, True),
        (b"", False),
        (SENT[1:], False),
        (SENT[:5000] + b"\0", False),
        (SENT + SENT[:1], False),
    ],
)
def test_only_the_first_bytes_of_it_are_gone_on_with(
    action: ModuleType, tmp_path: Path, left: bytes, kept: bool
) -> None:
    """Whatever a link, a disk or another version has left there."""
    file = tmp_path / "file"
    file.write_bytes(SENT)
    payload = action.Payload(file, "/opt/x/program", "0" * 64)
    assert payload.begins_with(len(left), hashlib.sha256(left).hexdigest()) is kept


@pytest.mark.requirement("N3")
def test_the_commands_do_what_they_say(action: ModuleType, tmp_path: Path) -> None:
    """By this machine's own shell, with a name that a shell would take apart: the same place each time it is said."""
    file, dest = tmp_path / "file", tmp_path / "a program's; place"
    file.write_bytes(SENT)
    payload = action.Payload(file, str(dest), hashlib.sha256(SENT).hexdigest(), "0640")

    def says(command: str, data: bytes = b"") -> str:
        return subprocess.run(["sh", "-c", command], input=data, capture_output=True, check=True).stdout.decode()

    assert says(action.look(payload)) == "\n"
    assert says(action.resume(payload)) == ""
    for _ in range(2):
        says(action.append(payload, 0), SENT[:3000])
    says(action.append(payload, 3000), SENT[3000:4000])
    says(action.append(payload, 3000), SENT[3000:5000])
    stale = tmp_path / f".{dest.name}.0123456789ab.part"
    stale.touch()
    assert says(action.resume(payload)).split() == ["5000", hashlib.sha256(SENT[:5000]).hexdigest()]
    assert not stale.exists()
    assert [offset for offset, _ in payload.pieces(5000)] == [5000]
    says(action.append(payload, 5000), SENT[5000:])
    assert not dest.exists()
    assert Path(payload.part).stat().st_mode & 0o777 == 0o600
    says(action.finish(payload))
    assert dest.read_bytes() == SENT
    assert payload.found_as(says(action.look(payload)).strip()) == (True, True)
    dest.chmod(0o666)
    assert payload.found_as(says(action.look(payload)).strip()) == (True, False)
    dest.write_bytes(b"another")
    assert payload.found_as(says(action.look(payload)).strip())[0] is False
    assert payload.found_as("") == (False, False)


@pytest.mark.requirement("N3")
def test_a_program_is_held_against_what_the_inventory_records(complaint: ModuleType, tmp_path: Path) -> None:
    """One sentence with the variable, the file and both checksums."""
    file = tmp_path / "mediamtx"
    file.write_bytes(SENT)
    right, wrong = hashlib.sha256(SENT).hexdigest(), "0" * 64
    assert complaint.complaint("x_file", str(file), right) is None
    assert complaint.complaint("x_file", str(file), wrong) == (
        f"x_file must have the SHA-256 {wrong}; {file} has {right}"
    )
    assert complaint.complaint("x_file", f"{file}2", right) == (
        f"x_file must have the SHA-256 {right}; {file}2 is missing"
    )
    assert "cannot be read (Is a directory)" in complaint.complaint("x_file", str(tmp_path), right)
    for strange in ("", right.upper(), right[:-1], None, 7):
        assert str(complaint.complaint("x_file", str(file), strange)).startswith(
            "x_sha256 must be 64 hexadecimal digits, not "
        )
