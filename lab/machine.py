"""What the lab asks of its machine: root, a few tools, and one raised limit that is given back."""

import ctypes.util
import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lab.cache import say, step
from lab.paths import STATE_ROOT, LabError

_TOOLS = {
    "mmdebstrap": "mmdebstrap",
    "systemd-nspawn": "systemd-container",
    "ip": "iproute2",
    "nft": "nftables",
    "nsenter": "util-linux",
    "ssh": "openssh-client",
    "tcpdump": "tcpdump",
    "socat": "socat",
    "jq": "jq",
    "gcc": "gcc libc6-dev",  # for the wall clock that is wrong; what tcc builds wants an executable stack
    "chromium": "chromium fonts-dejavu-core",
    "libatomic": "libatomic1",  # for the node that drives chromium; a small Debian lacks it
}
_INSTANCES = Path("/proc/sys/fs/inotify/max_user_instances")
_WANTED_INSTANCES = 1024  # at 128 the sixteenth gateway never finished booting, and said nothing
SAVED = ".max_user_instances"


def need_root() -> None:
    if os.geteuid() != 0:
        raise LabError("the lab needs root (namespaces, mounts, cgroups): run it as root or with sudo")


def _there(tool: str) -> bool:
    if tool.startswith("lib"):
        return ctypes.util.find_library(tool.removeprefix("lib")) is not None
    return shutil.which(tool) is not None


def missing() -> list[str]:
    """The Debian packages of the tools that are not there."""
    return sorted({name for tool, names in _TOOLS.items() if not _there(tool) for name in names.split()})


def need_tools() -> None:
    """Installs what is missing, and says so."""
    if not Path("/dev/net/tun").exists():
        raise LabError("the machine has no /dev/net/tun, which the VPN needs")
    lacking = missing()
    if not lacking:
        return
    say(f"         installing with apt-get: {' '.join(lacking)}")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with step(f"apt-get install {' '.join(lacking)}"):
        install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *lacking]
        for words in (["apt-get", "update", "-qq"], install):
            done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=900, check=False)
            if done.returncode:
                raise LabError(f"{' '.join(words)} failed: {done.stderr.strip()[-800:]}")


@contextmanager
def _state_root_lock() -> Iterator[None]:
    """Held while labs are counted. On the directory itself, so that no lock file stays behind."""
    while True:
        STATE_ROOT.mkdir(mode=0o755, parents=True, exist_ok=True)
        fd = os.open(STATE_ROOT, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(fd, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if STATE_ROOT.stat().st_ino == os.fstat(fd).st_ino:
                break
        os.close(fd)  # somebody's last `down` removed it between the two lines above
    try:
        yield
    finally:
        os.close(fd)


def claim(state: Path) -> None:
    """Makes the lab's state directory, and raises the limit when this is the first lab."""
    with _state_root_lock():
        state.mkdir(mode=0o755, exist_ok=True)
        before = int(_INSTANCES.read_text())
        if before < _WANTED_INSTANCES:
            (STATE_ROOT / SAVED).write_text(str(before))
            _INSTANCES.write_text(str(_WANTED_INSTANCES))
            raised = f"from {before} to {_WANTED_INSTANCES}"
            say(f"         fs.inotify.max_user_instances raised {raised} until the last `down`")


def release(state: Path) -> None:
    """Deletes the lab's state; after the last lab the limit and the directory of all labs go too."""
    with _state_root_lock():
        shutil.rmtree(state, ignore_errors=True)
        if any(entry.is_dir() for entry in STATE_ROOT.iterdir()):
            return
        saved = STATE_ROOT / SAVED
        if saved.exists():
            _INSTANCES.write_text(saved.read_text())
            saved.unlink()
        STATE_ROOT.rmdir()
