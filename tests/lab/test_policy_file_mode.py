"""A headscale that has its policy in a file: the role writes the file, has it checked there, and a reload takes it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab import Lab, wait
from lab.headscale import config
from lab.paths import CHECKOUT

URL = "http://10.77.0.1:18080"
RELOADED = "Policy reload completed with changes policy.changed=true"
POLICY = """{
  // The network team's. Ask before you change it.
  "groups": {"group:technicians": ["ann@"]},
  "tagOwners": {"tag:gateway": []},
  "grants": [
    {"src": ["ann@"], "dst": ["tag:gateway"], "ip": ["tcp:22"]}, // from the office
  ],
}
"""


@dataclass(frozen=True)
class FileMode:
    """The server, its policy's file and its log."""

    lab: Lab
    place: Path
    process: subprocess.Popen[bytes]

    @property
    def file(self) -> Path:
        """The policy."""
        return self.place / "policy.hujson"

    def log(self) -> str:
        """All that it has said."""
        return (self.place / "headscale.log").read_text()

    def write(self, *sources: str) -> subprocess.CompletedProcess[str]:
        """The policy's part of site.yml, for these maintainers; the caller looks at exit code and output."""
        given = {
            "url": URL,
            "api_key_file": str(self.place / "key"),
            "file": str(self.file),
            "maintainers": [{"src": list(sources), "sites": ["*"]}],
            "tests": [],
        }
        asked = json.dumps({f"sightglass_tailnet_policy_{name}": value for name, value in given.items()})
        words = ["ansible-playbook", "ansible/playbooks/site.yml", "--tags", "sightglass_tailnet_policy", "-e", asked]
        return self.lab.host("ops").run(words, timeout=120, check=False, cwd=str(CHECKOUT))

    def reload(self) -> None:
        """As `systemctl reload headscale` does; TimeoutError unless it says that it has taken the file."""
        assert RELOADED not in self.log()
        self.lab.host("control").run(["pkill", "-HUP", "-f", f"^[^ ]*headscale.*{self.place}/config.yaml serve"])
        wait.until(lambda: RELOADED in self.log(), 20, "headscale has the new policy")


@pytest.fixture
def served(lab: Lab, tmp_path: Path) -> Iterator[FileMode]:
    """A second headscale beside the lab's, with one user and no device."""
    binary = Path(lab.data["binaries"]["headscale"])
    (tmp_path / "policy.hujson").write_text(POLICY)
    settings: dict[str, Any] = config(tmp_path, 100) | {
        "listen_addr": "10.77.0.1:18080",
        "metrics_listen_addr": "127.0.0.1:19090",
        "grpc_listen_addr": "127.0.0.1:15443",
        "policy": {"mode": "file", "path": str(tmp_path / "policy.hujson")},
    }
    settings["derp"]["server"]["stun_listen_addr"] = "127.0.0.1:13478"
    (tmp_path / "config.yaml").write_text(json.dumps(settings))
    command = [str(binary), "-c", str(tmp_path / "config.yaml")]
    with (tmp_path / "headscale.log").open("wb") as log:
        process = lab.host("control").popen([*command, "serve"], stdout=log, stderr=log)
    found = FileMode(lab, tmp_path, process)
    try:
        wait.until(lambda: (tmp_path / "headscale.sock").exists(), 20, "headscale's socket")
        for words in (["users", "create", "ann"], ["apikeys", "create", "--expiration", "1d"]):
            done = subprocess.run([*command, *words], capture_output=True, text=True, timeout=20, check=True)
        (tmp_path / "key").write_text(done.stdout.strip().splitlines()[-1])
        yield found
    finally:
        process.terminate()
        process.wait(10)


@pytest.mark.requirement("A5")
def test_the_file_is_written_and_a_reload_takes_it(served: FileMode) -> None:
    """Each comment stays, a second run changes nothing, and the running server says that it has the new one."""
    done = served.write("group:technicians")
    assert done.returncode == 0, done.stdout[-3000:]
    written = served.file.read_text()
    for line in POLICY.splitlines():
        assert line in written.splitlines()
    assert "sightglass.example/cap/view" in written
    assert "changed=0 " in served.write("group:technicians").stdout
    assert served.file.read_text() == written
    served.reload()


@pytest.mark.requirement("A5")
def test_what_headscale_refuses_is_not_written(served: FileMode) -> None:
    """Its own check sees what it would say in its log alone, after the reload."""
    done = served.write("bob@")
    assert done.returncode == 2
    assert "headscale has 0 users called 'bob@'" in " ".join(done.stdout.split())
    assert served.file.read_text() == POLICY
    served.file.write_text(POLICY.replace('"tcp:22"', '"tcp:nowhere"'))
    done = served.write("group:technicians")
    assert done.returncode == 2
    assert "headscale refuses POST policy/check: " in " ".join(done.stdout.split()), done.stdout[-2000:]
    assert served.file.read_text() == POLICY.replace('"tcp:22"', '"tcp:nowhere"')
