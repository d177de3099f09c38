"""Whatever happens to a lab, nothing of it stays on the machine."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import Lab, LabError
from lab.fleet import down
from lab.paths import CHECKOUT, STATE_ROOT, state_of
from lab.plan import PROBE_PORT

NAME = "trace"
_LAB = [sys.executable, "-m", "lab.cli"]


def _traces(name: str) -> dict[str, list[str]]:
    """What a lab of this name could leave, by kind."""
    whole = str(state_of(name))
    processes = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            inside = f"sightglass-lab-{name}" in (entry / "cgroup").read_text().replace(f"{name}-", "")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if words and (inside or f"{whole}/" in words):  # without words it is dead, and waits for the machine's init
            processes.append(words)
    trees = [Path("/sys/fs/cgroup"), *(path for path in Path("/sys/fs/cgroup").iterdir() if path.is_dir())]
    return {
        "processes": processes,
        "mounts": [line for line in Path("/proc/mounts").read_text().splitlines() if f"{whole}/" in line],
        "cgroups": [str(tree) for tree in trees if (tree / f"sightglass-lab-{name}").exists()],
        "files": [whole] if Path(whole).exists() else [],
        "links": _machine_links(),
        "tables": _machine_tables(),
        "netns": [path.name for path in Path("/run/netns").glob("*")],
    }


def _in_time(took: float, limit: float) -> None:
    """The limits are promised for a machine that does nothing else."""
    busy = os.getloadavg()[0] > 2 * (os.cpu_count() or 1)
    assert took < limit * (5 if busy else 1)


def _machine_links() -> list[str]:
    return sorted(path.name for path in Path("/sys/class/net").iterdir())


def _machine_tables() -> list[str]:
    nft = shutil.which("nft")
    return (
        subprocess.run([nft, "list", "tables"], capture_output=True, text=True, check=True).stdout.splitlines()
        if nft
        else []
    )


@pytest.fixture
def before() -> Iterator[dict[str, list[str]]]:
    """The machine without this lab; the test compares with it, and the lab is gone in any case."""
    down(NAME)
    yield _traces(NAME)
    down(NAME)


def test_down_leaves_nothing(before: dict[str, list[str]]) -> None:
    """After a life with a planted table and a running command, `down` takes under a second and leaves nothing."""
    resolv = Path("/etc/resolv.conf").read_text()
    lab = Lab.up(NAME)
    for host in ("gw1", "ops"):
        lab.host(host).run(["nft", "add", "table", "inet", "planted"])
    with lab.host("ops").popen(["sleep", "1000"]) as left:
        start = time.monotonic()
        lab.down()
        took = time.monotonic() - start
        assert left.wait(2) != 0
    assert _traces(NAME) == before
    assert Path("/etc/resolv.conf").read_text() == resolv
    _in_time(took, 1)


def test_the_limit_is_given_back_by_the_last_lab(before: dict[str, list[str]]) -> None:
    """fs.inotify.max_user_instances is raised while a lab runs; without one it is what it was."""
    limit = Path("/proc/sys/fs/inotify/max_user_instances")
    others = [path for path in STATE_ROOT.glob("*") if path.is_dir()]
    at_first = limit.read_text()
    with Lab.up(NAME):
        assert int(limit.read_text()) >= 1024
    if others:
        pytest.skip("another lab runs, so the limit stays raised")
    assert limit.read_text() == at_first
    assert not STATE_ROOT.exists()


@pytest.mark.parametrize("round_", range(6))
def test_kill_9_of_up_is_mended_by_the_next_verb(before: dict[str, list[str]], round_: int) -> None:
    """`lab up`, killed at any moment, leaves no process or mount; then `down` clears the rest, or `up` just works."""
    moment = random.Random(round_).uniform(0.05, 3.0)
    with subprocess.Popen([*_LAB, "up", "--name", NAME], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as up:
        time.sleep(moment)  # the moment is what this test varies
        up.send_signal(signal.SIGKILL)
    if round_ % 2:
        with Lab.up(NAME) as lab:
            assert lab.host("gw1").run(["true"]).returncode == 0
    else:
        start = time.monotonic()
        down(NAME)
        _in_time(time.monotonic() - start, 1)
    assert _traces(NAME) == before


def test_kill_9_of_the_supervisor_takes_everything(before: dict[str, list[str]]) -> None:
    """Killing process 1 of a lab that is up ends every process and mount at once; only directories wait for `down`."""
    lab = Lab.up(NAME)
    os.kill(_supervisor(), signal.SIGKILL)
    lab.wait.until(lambda: not _traces(NAME)["processes"], 5, "all processes gone")
    assert _traces(NAME)["mounts"] == before["mounts"]
    dead = f"lab {NAME} is dead and has left its directory"
    code, said = _doctor()
    assert (code, dead in said) == (1, True), said
    # The dead init is listed in its cgroup for a moment longer, and a command that tries to enter it just then fails.
    lab.wait.until(lambda: _refusal(lab).endswith("does not run"), 5, "gw1 is known to be gone")
    assert down(NAME)
    assert _traces(NAME) == before
    assert dead not in _doctor()[1], "the control"


def _doctor() -> tuple[int, str]:
    done = subprocess.run([*_LAB, "doctor"], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    return done.returncode, done.stdout


def test_two_labs_side_by_side(lab: Lab, before: dict[str, list[str]]) -> None:
    """The same names and addresses twice, another Debian: neither sees the other, and one's end leaves the other."""
    port = ["socat", f"TCP-LISTEN:{PROBE_PORT},fork,reuseaddr", "SYSTEM:echo other"]
    with Lab.up(NAME, debian=(13,)) as other:
        ours, theirs = lab.host("gw1"), other.host("gw1")
        assert (ours.wan4, ours.lan4) == (theirs.wan4, theirs.lan4)
        releases = [host.run(["cat", "/etc/debian_version"]).stdout.partition(".")[0] for host in (ours, theirs)]
        assert releases == ["12", "13"]
        with theirs.popen(port) as server:
            other.wait.until(lambda: _asked(other) == "other\n", 10, "the control: the other lab's own member")
            assert _asked(lab) == ""
            server.kill()
        assert {lab.name, NAME} <= set(_doctor()[1].rpartition("labs that run: ")[2].strip().split(", "))
    assert _traces(NAME) == before
    assert lab.host("gw1").run(["tailscale", "ping", "--c=1", str(lab.host("maintainer").vpn4)]).returncode == 0


def _asked(lab: Lab) -> str:
    probe = ["socat", "-u", "-T2", f"TCP:{lab.host('gw1').vpn4}:{PROBE_PORT},connect-timeout=2", "-"]
    return lab.host("maintainer").run(probe, check=False).stdout


def _supervisor() -> int:
    """Number of the lab's outermost process: the lowest of those that carry its order."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            words = (entry / "cmdline").read_bytes()
            if b"lab.supervisor" in words and f'"name": "{NAME}"'.encode() in words:
                found.append(int(entry.name))
    return min(found)


def _refusal(lab: Lab) -> str:
    with pytest.raises(LabError) as refused:
        lab.host("gw1").run(["true"])
    return str(refused.value)


def test_a_second_up_is_refused(before: dict[str, list[str]]) -> None:
    """A name that is in use is refused in one sentence, and the lab that has it lives on."""
    with Lab.up(NAME) as lab:
        with pytest.raises(LabError, match=f"lab '{NAME}' is already up"):
            Lab.up(NAME)
        assert lab.host("gw1").run(["true"]).returncode == 0


def test_without_root_it_says_so() -> None:
    """An ordinary user gets one sentence and exit code 1."""
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    reads = [*nobody, "test", "-r", str(CHECKOUT / "lab" / "cli.py"), "-a", "-x", sys.executable]
    if subprocess.run(reads, check=False).returncode:
        pytest.skip("an ordinary user cannot read this checkout")
    done = subprocess.run(
        [*nobody, *_LAB, "up", "--name", NAME],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        env={"PATH": os.environ["PATH"]},
    )
    assert done.returncode == 1
    assert done.stderr == "lab: the lab needs root (namespaces, mounts, cgroups): run it as root or with sudo\n"


def test_eight_gateways(before: dict[str, list[str]]) -> None:
    """Eight gateways are on the VPN, and reachable for ops, within 12 s; their `down` takes under a second."""
    Lab.up(NAME).down()  # warm: whatever the cache lacks is built here
    start = time.monotonic()
    with Lab.up(NAME, gateways=8) as lab:
        took = time.monotonic() - start
        assert len({gateway.vpn4 for gateway in lab.gateways}) == 8
        start = time.monotonic()
    _in_time(time.monotonic() - start, 1)
    _in_time(took, 12)
