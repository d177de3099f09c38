"""What the units' files say of their sandboxes, where systemd does not say it by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

ROLES = Path(__file__).parents[2] / "roles"
UNITS = sorted(
    file
    for file in ROLES.glob("sightglass_*/templates/*.service.j2")
    if "ProtectSystem=strict" in file.read_text() and "NoExecPaths=/" in file.read_text()
)
ALWAYS_THERE = ("sightglass-agent.service.j2", "sightglass-metrics.service.j2")
OF_A_WINDOW = [file for file in UNITS if file.name not in ALWAYS_THERE]


def values(file: Path, key: str) -> list[str]:
    """All values of one setting of a unit."""
    return [
        word
        for line in file.read_text().replace("{{ __sightglass_agent_root }}", "/opt/sightglass").splitlines()
        if line.startswith(f"{key}=")
        for word in line.split("=", 1)[1].split()
    ]


@pytest.mark.requirement("P1")
def test_every_process_of_ours_has_a_sandbox() -> None:
    """The control: the list is not empty by mistake."""
    names = {file.name.removeprefix("sightglass-").partition(".")[0] for file in UNITS}
    assert names == {"agent", "shutter", "feed", "mediamtx", "console", "metrics"}


@pytest.mark.requirement("P1")
@pytest.mark.parametrize("file", UNITS, ids=lambda file: file.name)
def test_what_may_be_executed_is_read_only_too(file: Path) -> None:
    """The gateway's own directories, the distribution's are packages; never the very path, for which systemd drops one
    of the two."""
    read_only, run = values(file, "ReadOnlyPaths"), values(file, "ExecPaths")
    assert not set(read_only) & set(run)
    ours = [path for path in run if not path.startswith(("/usr/", "/lib")) and not path.endswith("/bin/mediamtx")]
    for path in ours:
        assert any(part.startswith(f"{path}/") for part in read_only), path


@pytest.mark.requirement("P1")
@pytest.mark.parametrize("file", OF_A_WINDOW, ids=lambda file: file.name)
def test_a_windows_processes_share_no_memory_with_others(file: Path) -> None:
    """System V memory and message queues of their own."""
    assert values(file, "PrivateIPC") == ["yes"]


@pytest.mark.requirement("P1")
def test_what_writes_the_figures_is_root_with_nothing_that_obeys_root() -> None:
    """One capability and one directory to write; no network, and of /run the agent's socket."""
    (file,) = (file for file in UNITS if file.name == "sightglass-metrics.service.j2")
    for key, wanted in {
        "User": [],
        "CapabilityBoundingSet": ["CAP_DAC_OVERRIDE"],
        "AmbientCapabilities": [],
        "NoNewPrivileges": ["yes"],
        "PrivateNetwork": ["yes"],
        "RestrictAddressFamilies": ["AF_UNIX"],
        "TemporaryFileSystem": ["/run:ro"],
        "BindPaths": ["/run/sightglass-agent.sock"],
        "ReadWritePaths": ["{{", "sightglass_metrics_file", "|", "dirname", "}}"],
    }.items():
        assert values(file, key) == wanted, key
