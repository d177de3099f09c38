"""A controller with the newest ansible-core, beside the one of .venv: Debian 13 and its Python 3.13, on `ops`."""

import subprocess
import sys
from pathlib import Path

from lab.cache import entry, key_of
from lab.paths import CHECKOUT, STATE_ROOT, LabError, cache_root
from lab.rootfs import base

PYTHON = "3.13"
_LOCK = CHECKOUT / "locks" / "ansible-newest.txt"
# Debian 13's root with a throw-away layer over it, and in it what a controller of this lab has. All of it goes with the
# process, whose mount namespace is its own.
_INSIDE = """
set -eu
mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay overlay -o "lowerdir=$1,upperdir=/mnt/upper,workdir=/mnt/work" /mnt/root
shift
while [ "$1" != -- ]; do
    if [ -d "$1" ]; then mkdir -p "/mnt/root$1"; else : >>"/mnt/root$1"; fi
    mount --rbind "$1" "/mnt/root$1"
    shift
done
shift
exec chroot /mnt/root env --chdir="$PWD" "$@"
"""


def words(program: str, *asked: str) -> list[str]:
    """The command line of one of its programs (`playbook` is ansible-playbook); what is missing is made."""
    packages = _packages()
    places = ["/dev", "/proc", "/run", "/tmp", "/etc/hosts", *map(str, (CHECKOUT, STATE_ROOT, cache_root()))]
    python = ["env", f"PYTHONPATH={packages}", f"/usr/bin/python{PYTHON}", "-m", "ansible", program]
    return ["unshare", "--mount", "--", "sh", "-c", _INSIDE, "sh", str(base(13)), *places, "--", *python, *asked]


def _packages() -> Path:
    def make(directory: Path) -> None:
        uv = [str(Path(sys.prefix) / "bin" / "uv"), "--no-config", "pip", "install", "--quiet", "--require-hashes"]
        into = ["--no-deps", "--only-binary=:all:", f"--python-version={PYTHON}", f"--target={directory / 'packages'}"]
        done = subprocess.run([*uv, *into, "-r", str(_LOCK)], capture_output=True, text=True, timeout=600, check=False)
        if done.returncode:
            raise LabError(f"uv pip install failed: {done.stderr.strip()[-800:]}")

    return entry("ansible-newest", key_of(PYTHON, _LOCK.read_text()), "newest ansible-core", make) / "packages"
