"""The gateways' second layer: VPN client, the administrator's login, the site's own software. Nothing of ours."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from lab.cache import entry, key_of, sha256, tree_hash
from lab.paths import CHECKOUT, LabError

_FILES = CHECKOUT / "lab" / "gold"
_PARKING = CHECKOUT / "lab" / "parking"

# Runs in the merged root. The user `admin` has no password; the account must not count as locked for sshd.
_INSIDE = r"""
set -eu
useradd --create-home --shell /bin/bash --password '*' admin
useradd --system --no-create-home --home-dir /opt/parking --shell /usr/sbin/nologin parking
chmod 0440 /etc/sudoers.d/admin
systemctl -q enable ssh-host-key.service ssh.service tailscaled.service mosquitto.service
systemctl -q disable nftables.service
if [ -f /etc/systemd/system/parking.service ]; then
    python3 -m venv --without-pip /opt/parking/venv
    systemctl -q enable parking.service
fi
"""
_COMPILE = "python3 -m compileall -q -j0 /opt/parking || true\n"


def gold(root: Path, python: str, binaries: dict[str, Path]) -> Path:
    """The layer's directory in the cache, made over the Debian root in `root`, whose Python is `python` (3.11).

    `binaries` holds the paths of tailscale, tailscaled and uv.
    """
    key = key_of(
        root.parent.name,
        [sha256(binaries[name]) for name in ("tailscale", "tailscaled")],
        tree_hash(_FILES),
        tree_hash(_PARKING),
        [_INSIDE, _COMPILE, sha256(Path(__file__))],
    )
    return entry("gold", key, "gateway layer", lambda tmp: _make(tmp, root, python, binaries)) / "root"


def _make(directory: Path, root: Path, python: str, binaries: dict[str, Path]) -> None:
    layer = directory / "root"
    shutil.copytree(_FILES, layer)
    for name, where in (("tailscale", "usr/bin"), ("tailscaled", "usr/sbin")):
        _install(binaries[name], layer / where / name, 0o755)
    _parking(layer)
    _merged(directory, root, _INSIDE)
    if (_PARKING / "requirements.txt").exists():
        _wheels(binaries["uv"], python, layer / f"opt/parking/venv/lib/python{python}/site-packages")
        _merged(directory, root, _COMPILE)
    shutil.rmtree(directory / "work")
    (directory / "merged").rmdir()


def _parking(layer: Path) -> None:
    for file in sorted(_PARKING.glob("*.py")):
        _install(file, layer / "opt/parking" / file.name, 0o644)
    if (_PARKING / "parking.service").exists():
        _install(_PARKING / "parking.service", layer / "etc/systemd/system/parking.service", 0o644)
        _install(_PARKING / "parking-control", layer / "usr/local/bin/parking-control", 0o755)


def _install(source: Path, target: Path, mode: int) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(mode)


def _wheels(uv: Path, python: str, target: Path) -> None:
    words = [
        *(str(uv), "--no-config", "pip", "install", "--quiet", "--require-hashes", "--only-binary", ":all:"),
        *("--python", sys.executable, "--python-version", python, "--python-platform", "x86_64-manylinux_2_28"),
        *("--target", str(target), "--link-mode", "copy", "-r", str(_PARKING / "requirements.txt")),
    ]
    # The caller's environment, because it says how the package index is reached (proxy, certificates).
    _checked(words, "the wheels of lab/parking/requirements.txt", dict(os.environ))


def _merged(directory: Path, root: Path, script: str) -> None:
    """Runs a shell script in the layer as it will be seen over the root; the mounts end with the command."""
    for name in ("work", "merged"):
        (directory / name).mkdir(exist_ok=True)
    mount = (
        'mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/root,workdir=$2/work" "$2/merged"'
        ' && mount -t proc proc "$2/merged/proc" && exec chroot "$2/merged" /bin/sh -c "$3"'
    )
    words = ["unshare", "--mount", "--propagation", "private", "sh", "-euc", mount, "sh", str(root), str(directory)]
    _checked([*words, script], "the gateway layer")


def _checked(words: list[str], what: str, env: dict[str, str] | None = None) -> None:
    clean = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/nonexistent"}
    done = subprocess.run(words, env=env or clean, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        raise LabError(f"{what} failed: {(done.stderr or done.stdout).strip()[-1500:]}")
