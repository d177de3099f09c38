"""A controller with the newest ansible-core, beside the one of .venv: another Python, from locks/ansible-newest.txt."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from lab.cache import entry, key_of
from lab.paths import CHECKOUT, LabError

PYTHON = "3.13"
_LOCK = CHECKOUT / "locks" / "ansible-newest.txt"


def bin_folder() -> Path:
    """Where its `ansible-playbook` is; made when it is missing. LabError when this machine has no such Python."""
    python = _python()
    if python is None:
        raise LabError(f"there is no Python {PYTHON} on this machine, which the newest ansible-core needs")

    def make(directory: Path) -> None:
        # Relocatable: the cache gives the directory its name when it is complete.
        _uv("venv", "--quiet", "--relocatable", "--python", str(python), str(directory / "venv"))
        into = str(directory / "venv" / "bin" / "python")
        _uv("pip", "sync", "--quiet", "--require-hashes", "--python", into, str(_LOCK))

    key = key_of(str(python), _LOCK.read_text())
    return entry("ansible-newest", key, "newest ansible-core", make) / "venv" / "bin"


def _python() -> Path | None:
    """One on the PATH, or one of pyenv's, whose own shims work for the version that is chosen only."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    found = shutil.which(f"python{PYTHON}", path=os.defpath)
    candidates = [*([Path(found)] if found else []), *sorted(pyenv.glob(f"{PYTHON}.*/bin/python{PYTHON}"))]
    return next((python for python in candidates if _works(python)), None)


def _works(python: Path) -> bool:
    return (
        subprocess.run([python, "-c", "import ssl, venv"], capture_output=True, timeout=60, check=False).returncode == 0
    )


def _uv(*words: str) -> None:
    uv = Path(sys.prefix) / "bin" / "uv"
    done = subprocess.run([uv, "--no-config", *words], capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        raise LabError(f"uv {words[0]} failed: {done.stderr.strip()[-800:]}")
