"""The vendors' releases come to the controller as their recorded checksums say, or not at all."""

from __future__ import annotations

import hashlib
import http.server
import io
import json
import os
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
TABLE = yaml.safe_load((ROOT / "binaries.yml").read_text())["binaries"]
ARCHES = {"x86_64": ("amd64", "x86_64"), "aarch64": ("arm64", "aarch64")}


def _archive(file: Path, members: dict[str, bytes]) -> str:
    """A vendor's archive: the programs, and what else is in one. Its SHA-256."""
    with tarfile.open(file, "w:gz") as made:
        for name, content in {**members, "LICENSE": b"as it is"}.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.uid = len(content), 0o644, 1001
            made.addfile(entry, io.BytesIO(content))
    return hashlib.sha256(file.read_bytes()).hexdigest()


class Vendor:
    """A fake of the vendors' download servers, with their files' names and layouts; it counts what is asked of it."""

    def __init__(self, place: Path) -> None:
        self.place, self.asked = place, list[str]()
        self.sha256: dict[str, dict[str, str]] = {"tailscale": {}, "mediamtx": {}, "uv": {}}
        tailscale, mediamtx = TABLE["tailscale"]["version"], TABLE["mediamtx"]["version"]
        for architecture, (go, rust) in ARCHES.items():
            top = f"tailscale_{tailscale}_{go}"
            self.sha256["tailscale"][architecture] = _archive(
                place / f"{top}.tgz", {f"{top}/{name}": f"{name} {go}".encode() for name in ("tailscale", "tailscaled")}
            )
            self.sha256["mediamtx"][architecture] = _archive(
                place / f"mediamtx_v{mediamtx}_linux_{go}.tar.gz", {"mediamtx": f"mediamtx {go}".encode()}
            )
            top = f"uv-{rust}-unknown-linux-gnu"
            self.sha256["uv"][architecture] = _archive(place / f"{top}.tar.gz", {f"{top}/uv": f"uv {rust}".encode()})


@pytest.fixture
def vendor(tmp_path: Path) -> Iterator[tuple[Vendor, dict[str, Any]]]:
    """The server, and the variables of somebody who has recorded its checksums."""
    (tmp_path / "vendor").mkdir()
    found = Vendor(tmp_path / "vendor")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            found.asked.append(self.path)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(found.place))) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield (
                found,
                {
                    "sightglass_binaries_dest": str(tmp_path / "dest"),
                    "sightglass_binaries_from": dict.fromkeys(found.sha256, url),
                    "sightglass_binaries_sha256": found.sha256,
                    "sightglass_binaries_architectures": [*ARCHES],
                },
            )
        finally:
            server.shutdown()
            serving.join(5)


def fetch(tmp_path: Path, variables: dict[str, Any]) -> tuple[int, str]:
    """binaries.yml with these variables: its exit code and what it said, its spaces made one."""
    environment = {**os.environ, "HOME": str(tmp_path), "ANSIBLE_NOCOLOR": "1", "NO_PROXY": "127.0.0.1"}
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", "-e", json.dumps(variables)]
    done = subprocess.run(
        [*command, "ansible/playbooks/binaries.yml"], cwd=ROOT, env=environment, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    return done.returncode, " ".join(done.stdout.split())


@pytest.mark.requirement("A4")
def test_what_was_recorded_is_fetched_unpacked_and_named(vendor: tuple[Vendor, dict[str, Any]], tmp_path: Path) -> None:
    """For both architectures, in files that an inventory takes; a second run does nothing, a changed program goes."""
    found, variables = vendor
    code, said = fetch(tmp_path, variables)
    assert code == 0, said
    for architecture, (go, _) in ARCHES.items():
        told = yaml.safe_load((tmp_path / "dest" / f"{architecture}.yml").read_text())
        assert told["sightglass_tailscale_version"] == TABLE["tailscale"]["version"]
        for name in (
            "sightglass_tailscale",
            "sightglass_tailscale_daemon",
            "sightglass_mediamtx",
            "sightglass_agent_uv",
        ):
            program = Path(told[f"{name}_file"])
            assert hashlib.sha256(program.read_bytes()).hexdigest() == told[f"{name}_sha256"]
            assert os.access(program, os.X_OK)
        assert Path(told["sightglass_tailscale_daemon_file"]).read_text() == f"tailscaled {go}"
        assert Path(told["sightglass_mediamtx_file"]).read_text() == f"mediamtx {go}"
    assert not [*(tmp_path / "dest").rglob("LICENSE")]
    asked = len(found.asked)
    assert asked == 6
    assert "changed=0" in fetch(tmp_path, variables)[1]
    assert len(found.asked) == asked, "nothing is fetched twice"

    told = yaml.safe_load((tmp_path / "dest" / "x86_64.yml").read_text())
    program = Path(told["sightglass_mediamtx_file"])
    program.write_text("something else")
    code, said = fetch(tmp_path, variables)
    assert code == 0, said
    assert program.read_text() == "mediamtx amd64"
    assert yaml.safe_load((tmp_path / "dest" / "x86_64.yml").read_text()) == told


@pytest.mark.requirement("A4")
def test_an_archive_that_is_something_else_is_not_kept(vendor: tuple[Vendor, dict[str, Any]], tmp_path: Path) -> None:
    """The checksum of the inventory is believed, and not the server."""
    _, variables = vendor
    other = "0" * 64
    variables["sightglass_binaries_sha256"]["mediamtx"]["aarch64"] = other
    code, said = fetch(tmp_path, variables)
    assert code == 2, said
    assert other in said
    assert not [*(tmp_path / "dest").rglob("mediamtx*arm64*")]
    assert not [*(tmp_path / "dest").glob("*.yml")], "and nothing is said of it"


@pytest.mark.requirement("A4")
@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        (
            "sightglass_binaries_sha256",
            {"tailscale": {}},
            "sightglass_binaries_sha256.tailscale.x86_64: must be the SHA-256 of",
        ),
        ("sightglass_binaries_from", {"uv": "somewhere"}, "sightglass_binaries_from.tailscale: must be the address"),
        ("sightglass_binaries_architectures", ["riscv64"], "riscv64"),
    ],
    ids=["no checksum", "no address", "another architecture"],
)
def test_without_a_recorded_checksum_nothing_is_fetched(
    vendor: tuple[Vendor, dict[str, Any]], tmp_path: Path, variable: str, value: Any, sentence: str
) -> None:
    """One sentence, before anybody is asked."""
    found, variables = vendor
    code, said = fetch(tmp_path, variables | {variable: value})
    assert code == 2, said
    assert sentence in said
    assert found.asked == []
    assert not (tmp_path / "dest").exists()
