"""The cgroup directory that holds one lab: what is in it belongs to the lab, and dies with it."""

import errno
import os
import time
from pathlib import Path

from lab.paths import LabError


def _mount_points() -> tuple[Path, Path | None, Path | None]:
    """The cgroup2 tree; where they exist, the v1 trees `systemd` (nspawn wants to be in both) and `memory`."""
    v2 = named = memory = None
    for line in Path("/proc/mounts").read_text().splitlines():
        _, where, kind, options, *_ = line.split()
        if kind == "cgroup2" and v2 is None:
            v2 = Path(where)
        elif kind == "cgroup" and "name=systemd" in options.split(","):
            named = Path(where)
        elif kind == "cgroup" and "memory" in options.split(","):
            memory = Path(where)
    if v2 is None:
        raise LabError("the machine has no cgroup2 file system mounted, which the lab needs")
    return v2, named, memory


class Cgroup:
    """The cgroup of the lab `name`, in the cgroup2 tree and, where they exist, in two v1 trees."""

    def __init__(self, name: str) -> None:
        v2, named, memory = _mount_points()
        self.path = v2 / f"sightglass-lab-{name}"
        self.memory = (memory or v2) / self.path.name
        self.trees = [tree / self.path.name for tree in (v2, named, memory) if tree is not None]

    def make(self, part: str) -> list[Path]:
        """Creates the part (`init`, `sup`, a gateway's name) and returns the cgroup.procs files to join."""
        for tree in self.trees:
            (tree / part).mkdir(parents=True, exist_ok=True)
        return [tree / part / "cgroup.procs" for tree in self.trees]

    def init_pid(self, part: str) -> int | None:
        """The process that is PID 1 of the innermost namespace in that part, as numbered where the caller lives."""
        for pid in _pids(self.path / part):
            try:
                status = Path(f"/proc/{pid}/status").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            spids = next((line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:")), [])
            if spids and spids[-1] == "1":
                return pid
        return None

    def freeze(self, part: str, *, frozen: bool) -> None:
        """Stops every process of the part where it stands, or lets them go on; returns when the kernel says so."""
        directory = self.path / part
        (directory / "cgroup.freeze").write_text("1" if frozen else "0")
        wanted, end = f"frozen {int(frozen)}", time.monotonic() + 5
        while wanted not in (directory / "cgroup.events").read_text().splitlines():
            if time.monotonic() > end:
                raise LabError(f"{directory} does not say {wanted!r} within 5 s")
            time.sleep(0.005)

    def squeeze(self, part: str, room: int | None, deadline_s: float = 10) -> None:
        """Leaves the part's processes `room` bytes beside what cannot be dropped of what they have now, for every file
        that they read; None ends that. Raises LabError where the kernel gives this cgroup no memory controller, or
        cannot make the room in time."""
        directory, end = self.memory / part, time.monotonic() + deadline_s
        for limit, without in (("memory.limit_in_bytes", "-1"), ("memory.high", "max")):
            if not (directory / limit).exists():
                continue
            while True:
                try:
                    (directory / limit).write_text(without if room is None else str(_held(directory) + room))
                    return
                except OSError as error:  # EBUSY, v1 only: pages that wait to be written cannot be dropped yet
                    if error.errno != errno.EBUSY or time.monotonic() > end:
                        raise LabError(f"{directory / limit} could not be set: {error}") from error
                    time.sleep(0.05)
        raise LabError(f"{directory} has no memory controller")

    def squeezes(self, part: str) -> int:
        """How often the part's processes have met that limit, and something had to be dropped."""
        directory = self.memory / part
        failures = directory / "memory.failcnt"
        if failures.exists():
            return int(failures.read_text())
        events = dict(line.split() for line in (directory / "memory.events").read_text().splitlines())
        return int(events["high"])

    def exists(self) -> bool:
        return any(tree.exists() for tree in self.trees)

    def kill(self, part: str = "") -> None:
        """Kills everything in the part, or in the whole lab."""
        try:
            (self.path / part / "cgroup.kill").write_text("1")
        except FileNotFoundError:
            return

    def remove(self, part: str = "", deadline_s: float = 5) -> None:
        """Removes the directories once their processes are gone."""
        end = time.monotonic() + deadline_s
        while True:
            try:
                for tree in self.trees:
                    _rmdir_all(tree / part)
                return
            except OSError as error:  # EBUSY: a killed process is still on its way out
                if time.monotonic() > end:
                    raise LabError(f"{self.path / part} could not be removed: {error}") from error
                time.sleep(0.005)


def _held(directory: Path) -> int:
    """Bytes that no reclaim takes from the processes there: their own memory, memory files, and the kernel's for them.

    Without the last, a limit was below what could ever be reached, and the kernel refused it on some machines."""
    stat = {name: int(value) for name, value in map(str.split, (directory / "memory.stat").read_text().splitlines())}
    if "total_rss" in stat:
        return stat["total_rss"] + stat["total_shmem"] + int((directory / "memory.kmem.usage_in_bytes").read_text())
    return stat["anon"] + stat["shmem"] + stat["kernel"]


def _pids(directory: Path) -> list[int]:
    try:
        return [int(line) for line in (directory / "cgroup.procs").read_text().split()]
    except (FileNotFoundError, OSError):
        return []


def _rmdir_all(top: Path) -> None:
    for path, _, _ in os.walk(top, topdown=False):
        Path(path).rmdir()
