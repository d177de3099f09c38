"""`lab doctor`: what this machine lacks for a lab, and what labs that are gone have left on it. Changes nothing."""

import fcntl
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from lab import binaries, machine, monitoring, rootfs
from lab.cgroups import Cgroup
from lab.paths import STATE_ROOT, LabError, cache_root

NEED_MEMORY = 2 << 30
NEED_DISK = 6 << 30
_CGROUP = "sightglass-lab-"
_GONE_S = 20


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be, and what to do."""

    what: str
    do: str


@dataclass(frozen=True)
class Named:
    """What there is of one lab: whether somebody holds its lock, its directory, processes and mounts."""

    name: str
    alive: bool
    directory: bool
    processes: int
    mounts: int


@dataclass(frozen=True)
class Seen:
    """What was seen of this machine. Sizes are bytes; `parts` are the names of what the cache lacks."""

    root: bool = True
    tun: bool = True
    cgroup2: bool = True
    overlay: bool = True
    nft: str | None = None
    tools: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    memory: int = NEED_MEMORY
    disk: int = NEED_DISK
    labs: tuple[Named, ...] = ()
    unfinished: tuple[str, ...] = ()
    raised: bool = False


def judge(seen: Seen) -> list[Finding]:
    """What to say of it; nothing when a lab can start and nothing is left of another."""
    found = [Finding(what, do) for wrong, what, do in _conditions(seen) if wrong]
    found += [
        Finding(f"lab {lab.name} is dead and has left {_left(lab)}", f"lab down --name {lab.name}")
        for lab in seen.labs
        if not lab.alive
    ]
    found += [
        Finding(f"a build that was killed has left {entry}", "rm -r it, or let the next build do it")
        for entry in seen.unfinished
    ]
    if seen.raised and not any(lab.directory for lab in seen.labs):
        saved = STATE_ROOT / machine.SAVED
        found.append(Finding(f"no lab is there, and the inotify limit is still raised ({saved})", "lab up, lab down"))
    return found


def _conditions(seen: Seen) -> list[tuple[bool, str, str]]:
    short = f"{_mib(seen.memory)} of memory are free, a lab wants {_mib(NEED_MEMORY)}"
    full = f"{_mib(seen.disk)} of disk are free, a lab wants {_mib(NEED_DISK)}"
    return [
        (not seen.root, "this is not root", "run it as root: namespaces, mounts and cgroups ask for it"),
        (not seen.tun, "there is no /dev/net/tun, which the VPN needs", "modprobe tun, or give it to this container"),
        (not seen.cgroup2, "no cgroup2 file system is mounted", "mount -t cgroup2 none /sys/fs/cgroup/unified"),
        (not seen.overlay, "the kernel has no overlay file system", "modprobe overlay"),
        (seen.nft is not None, f"nftables cannot be used: {seen.nft}", "modprobe nf_tables, or ask for CAP_NET_ADMIN"),
        (bool(seen.tools), f"these tools are missing: {', '.join(seen.tools)}", "make parts installs them"),
        (bool(seen.parts), f"the cache lacks {', '.join(seen.parts)}", "make parts builds them (minutes)"),
        (seen.memory < NEED_MEMORY, short, "end other labs, or what else needs it"),
        (seen.disk < NEED_DISK, full, "delete old entries of the cache while no lab is up"),
    ]  # fmt: skip


def _mib(size: int) -> str:
    return f"{size >> 20} MiB"


def _left(lab: Named) -> str:
    kinds = [
        *(["its directory"] if lab.directory else []),
        *([f"{lab.processes} processes"] if lab.processes else []),
        *([f"{lab.mounts} mounts"] if lab.mounts else []),
    ]
    return ", ".join(kinds) or "its cgroup"


def look() -> Seen:
    """Look at this machine."""
    try:
        Cgroup("any")
        cgroup2 = True
    except LabError:
        cgroup2 = False
    memory = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return Seen(
        root=os.geteuid() == 0,
        tun=Path("/dev/net/tun").exists(),
        cgroup2=cgroup2,
        overlay="\toverlay\n" in Path("/proc/filesystems").read_text(),
        nft=_nft(),
        tools=tuple(machine.missing()),
        parts=tuple(_lacking()),
        memory=int(memory["MemAvailable"].split()[0]) << 10,
        disk=shutil.disk_usage(_existing(cache_root())).free,
        labs=tuple(_labs(cgroup2)),
        unfinished=tuple(str(path) for path in cache_root().glob("tmp-*")) if _free(cache_root()) else (),
        raised=(STATE_ROOT / machine.SAVED).exists(),
    )


def _nft() -> str | None:
    if shutil.which("nft") is None:
        return None  # it is among the tools
    words = ["nft", "list", "tables"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=_GONE_S, check=False)
    except subprocess.TimeoutExpired:
        return f"no answer within {_GONE_S} s"
    return None if done.returncode == 0 else done.stderr.strip() or f"exit code {done.returncode}"


def _lacking() -> list[str]:
    places = {name: row.place() for name, row in binaries.table().items()}
    places |= {f"Debian {debian}": rootfs.place(debian) for debian in rootfs.RELEASES}
    places["Prometheus"] = monitoring.place()
    return [name for name, place in places.items() if not place.exists()]


def _labs(cgroup2: bool) -> list[Named]:
    names = {path.name for path in STATE_ROOT.glob("*") if path.is_dir()}
    if cgroup2:
        names |= {path.name.removeprefix(_CGROUP) for path in Cgroup("any").path.parent.glob(f"{_CGROUP}*")}
    mounts = Path("/proc/mounts").read_text().splitlines()
    return [_lab(name, mounts) for name in sorted(names)]


def _lab(name: str, mounts: list[str]) -> Named:
    state = STATE_ROOT / name
    return Named(
        name,
        alive=not _free(state / "lock"),
        directory=state.exists(),
        processes=sum(len(file.read_text().split()) for file in Cgroup(name).path.rglob("cgroup.procs")),
        mounts=sum(f" {state}/" in line for line in mounts),
    )


def _free(path: Path) -> bool:
    """Whether nobody holds a lock on it, also when it is not there."""
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True


def _existing(path: Path) -> Path:
    return path if path.exists() else _existing(path.parent)
