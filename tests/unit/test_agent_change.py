"""The role sightglass_agent keeps what runs and goes back to it, whatever it is interrupted in.

Its own shell, on files of the test's. systemctl is a fake that keeps one agent's start; the lab has the real one.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml

TASKS = Path(__file__).parents[2] / "roles" / "sightglass_agent" / "tasks"
SYSTEMCTL = """#!/bin/sh
echo "$*" >> {place}/asked
case "$*" in
    "show -P InvocationID sightglass-agent.service") cat {place}/invocation ;;
    "restart "*.socket) test ! -e {place}/sockets-fail ;;
    "start sightglass-agent.service") cat {place}/asked | wc -l > {place}/invocation ;;
    "is-active --quiet sightglass-agent.service") test -s {place}/invocation ;;
esac
"""


@dataclass(frozen=True)
class Gateway:
    """The files that a change may write, below the test's own directory."""

    place: Path

    @property
    def before(self) -> Path:
        """What is kept."""
        return self.place / "etc/sightglass/before"

    @property
    def files(self) -> list[Path]:
        """Agent, a unit that the version before has not, configuration and password."""
        units = [
            self.place / "etc/systemd/system" / name for name in ("sightglass-agent.service", "sightglass-new.socket")
        ]
        return [*units, self.place / "etc/sightglass/agent.json", self.place / "etc/sightglass/mqtt-password"]

    @property
    def venv(self) -> Path:
        """The link."""
        return self.place / "opt/venv"

    def install(self, name: str, files: list[Path]) -> None:
        """A version: its environment, and the same word in each of its files."""
        python = self.place / "opt/environments" / name / "bin"
        python.mkdir(parents=True, exist_ok=True)
        for program in ("python", "sightglass-agent"):
            (python / program).write_text("#!/bin/sh\n")
            (python / program).chmod(0o755)
        for file in files:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(name)

    def use(self, name: str) -> None:
        """Turn the link."""
        self.venv.unlink(missing_ok=True)
        self.venv.symlink_to(self.place / "opt/environments" / name)

    def state(self) -> dict[str, str]:
        """What is there now, by name."""
        found = {file.name: file.read_text() for file in self.files if file.exists()}
        return found | {"venv": self.venv.resolve().name}

    def run(self, task: str, keeping: str | None = None) -> tuple[int, str]:
        """The shell of a task; `keeping` is what the run's own keeping said. Exit code, and what it said."""
        steps = yaml.safe_load((TASKS / f"{task}.yml").read_text())
        text = next(step["ansible.builtin.shell"]["cmd"] for step in steps if "ansible.builtin.shell" in step)
        values: dict[str, Any] = {
            "__sightglass_agent_before": self.before,
            "__sightglass_agent_files": [str(file) for file in self.files],
            "__sightglass_agent_venv": self.venv,
            "__sightglass_agent_environments": self.place / "opt/environments",
            "__sightglass_agent_sockets": ["sightglass-agent.socket", "sightglass-new.socket"],
            "__sightglass_agent_keeping": {} if keeping is None else {"stdout": keeping},
        }
        engine = jinja2.Environment(undefined=jinja2.StrictUndefined)
        # The role's own, which several of its tasks share.
        shared = yaml.safe_load((TASKS.parent / "vars" / "main.yml").read_text())
        for name in ("__sightglass_agent_forget", "__sightglass_agent_prune"):
            values[name] = engine.from_string(shared[name]).render(values)
        text = text.replace("/etc/systemd/system/", f"{self.place}/etc/systemd/system/")
        shell = engine.from_string(text).render(values)
        path = f"{self.place}/bin:/usr/bin:/bin"
        done = subprocess.run(
            ["/bin/sh", "-c", shell], env={"PATH": path}, capture_output=True, text=True, timeout=20, check=False
        )
        return done.returncode, (done.stdout + done.stderr).strip()

    def asked(self) -> list[str]:
        """What systemctl was asked to do."""
        return (self.place / "asked").read_text().splitlines()


@pytest.fixture
def gateway(tmp_path: Path) -> Gateway:
    """One on which v1 runs, which lacks a socket that later versions have."""
    found = Gateway(tmp_path)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/systemctl").write_text(SYSTEMCTL.format(place=tmp_path))
    (tmp_path / "bin/systemctl").chmod(0o755)
    (tmp_path / "invocation").write_text("first")
    (tmp_path / "asked").touch()
    found.install("v1", [file for file in found.files if file.suffix != ".socket"])
    found.use("v1")
    return found


def changed(gateway: Gateway, name: str) -> None:
    """All that a run writes before its end, and another start."""
    gateway.install(name, gateway.files)
    gateway.use(name)
    (gateway.place / "invocation").write_text(name)


@pytest.mark.requirement("N3")
def test_going_back_brings_all_of_it_and_takes_what_is_new(gateway: Gateway) -> None:
    """Files, link and agent; what the version before did not have goes, its unit stopped first."""
    was = gateway.state()
    assert gateway.run("keep") == (0, "kept")
    changed(gateway, "v2")
    assert gateway.state() != was
    assert gateway.run("back", "kept") == (0, "what ran before runs")
    assert gateway.state() == was
    assert not gateway.before.exists()
    assert [one.name for one in (gateway.place / "opt/environments").iterdir()] == ["v1"]
    asked = gateway.asked()
    assert "disable --quiet --now sightglass-new.socket" in asked
    assert asked[-1] == "start sightglass-agent.service"


@pytest.mark.requirement("N3")
def test_an_agent_that_nobody_has_touched_is_not_started_anew(gateway: Gateway) -> None:
    """The new settings were refused: the files go back, and the window stays open."""
    gateway.run("keep")
    gateway.install("v2", gateway.files[2:3])
    assert gateway.run("back", "kept") == (0, "what ran before runs")
    assert not [one for one in gateway.asked() if one.startswith(("stop", "start", "restart"))]
    assert set(gateway.state().values()) == {"v1"}


@pytest.mark.requirement("N3")
@pytest.mark.parametrize("moved", range(4))
def test_a_going_back_that_is_interrupted_can_be_gone_again(gateway: Gateway, moved: int) -> None:
    """After any of its renames; the next run keeps again what is in its place, changes all, and fails, too."""
    was = gateway.state()
    gateway.run("keep")
    changed(gateway, "v2")
    old = [file for file in gateway.files if file.suffix != ".socket"]
    for file in old[:moved]:
        Path(f"{gateway.before}{file}").rename(file)
    assert gateway.run("keep") == (0, "broken off")
    changed(gateway, "v3")
    assert gateway.run("back", "broken off") == (0, "what ran before runs")
    assert gateway.state() == was


@pytest.mark.requirement("N3")
def test_a_run_that_broke_off_before_it_wrote_anything_is_forgotten(gateway: Gateway) -> None:
    """Ctrl-C in a run with nothing to do must not end a window in the next."""
    assert gateway.run("keep") == (0, "kept")
    assert gateway.run("keep") == (0, "kept")
    gateway.install("v2", gateway.files[3:])
    assert gateway.run("keep") == (0, "broken off"), "the control: a password was written"
    assert gateway.run("settle")[0] == 0
    assert gateway.run("keep") == (0, "kept")
    (gateway.place / "invocation").write_text("another start")
    assert gateway.run("keep") == (0, "broken off")


@pytest.mark.requirement("N3")
def test_what_is_not_whole_is_not_gone_back_to(gateway: Gateway) -> None:
    """Without the list of what was kept, or the programs, nothing is taken away; nor when another run has taken it."""
    gateway.run("keep")
    changed(gateway, "v2")
    now = gateway.state()
    (gateway.before / "files").rename(gateway.place / "files")
    assert gateway.run("back", "kept") == (1, "what was kept is not whole")
    assert gateway.state() == now
    (gateway.place / "files").rename(gateway.before / "files")
    (gateway.place / "opt/environments/v1").rename(gateway.place / "away")
    assert gateway.run("back", "kept") == (1, "what was kept is not whole")
    assert gateway.state() == now
    assert gateway.run("settle")[0] == 0
    assert gateway.run("back", "kept") == (1, "another run has taken what was kept")
    assert gateway.run("back") == (0, "there is nothing to go back to")
    assert gateway.state() == now
    assert [one.name for one in (gateway.place / "opt/environments").iterdir()] == ["v2"]


@pytest.mark.requirement("N3")
def test_a_socket_that_does_not_start_keeps_nobody_from_the_agent(gateway: Gateway) -> None:
    """It is stopped by then."""
    gateway.run("keep")
    changed(gateway, "v2")
    (gateway.place / "etc/systemd/system/sightglass-agent.socket").touch()
    (gateway.place / "sockets-fail").touch()
    assert gateway.run("back", "kept") == (0, "what ran before runs")
    asked = gateway.asked()
    assert "restart sightglass-agent.socket" in asked
    assert asked[-1] == "start sightglass-agent.service"


@pytest.mark.requirement("N3")
def test_a_blank_gateway_has_nothing_to_keep(tmp_path: Path, gateway: Gateway) -> None:
    """Neither has one whose programs are gone; and no copy of the password stays behind."""
    gateway.venv.unlink()
    assert gateway.run("keep") == (0, "")
    assert not [*(tmp_path / "etc/sightglass").glob("before*")]
