"""The agent of this checkout as its next version, for what proves how versions change."""

import shutil
import subprocess
import sys
from pathlib import Path

from lab.paths import CHECKOUT, LabError

NOW, NEXT = "0.1.0", "0.1.1"
_STARTS = '    notify("READY=1")\n'
_LIMIT_S = 300


def wheelhouse(place: Path, *, target: str = "cp311-x86_64", starts: bool = True) -> Path:
    """A wheelhouse of it, built from a copy below `place`; or of one that ends before it is ready.

    Raises LabError when the sources have another version, or say otherwise that they are ready, CalledProcessError when
    it cannot be built.
    """
    agent = shutil.copytree(CHECKOUT / "agent", place / "agent")
    _edit(agent / "pyproject.toml", f'version = "{NOW}"', f'version = "{NEXT}"')
    if not starts:
        _edit(agent / "src/sightglass/main.py", _STARTS, '    raise SystemExit("it never starts")\n')
    made = subprocess.run(
        [sys.executable, agent / "wheelhouse", f"--target={target}"],
        capture_output=True,
        text=True,
        timeout=_LIMIT_S,
        check=True,
    )
    return Path(made.stdout.strip())


def _edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    if text.count(old) != 1:
        raise LabError(f"{file} must have {old!r} once, and has it {text.count(old)} times")
    file.write_text(text.replace(old, new))
