"""Names, places and the errors of the test fleet."""

import os
import re
import subprocess
from pathlib import Path

STATE_ROOT = Path("/var/tmp/sightglass-lab")
CHECKOUT = Path(__file__).resolve().parent.parent

_NAME = re.compile(r"[a-z][a-z0-9-]{0,15}")


class LabError(Exception):
    """Something that the person at the terminal can act on; its text is one sentence."""


class HostError(LabError):
    """A command on a host failed. Holds `cmd`, `returncode`, `stdout` and `stderr`."""

    def __init__(self, host: str, result: "subprocess.CompletedProcess[str]") -> None:
        self.cmd = [str(word) for word in result.args]
        self.returncode = result.returncode
        self.stdout = result.stdout or ""
        self.stderr = result.stderr or ""
        said = (self.stderr or self.stdout).strip()[-2000:]
        super().__init__(f"{host}: {' '.join(self.cmd)} ended with {result.returncode}: {said}")


def checked_name(name: str) -> str:
    """Returns `name` when it can name a lab; LabError otherwise."""
    if not _NAME.fullmatch(name):
        raise LabError(
            f"name must be a lower-case letter followed by at most 15 letters, digits or hyphens, not {name!r}"
        )
    return name


def state_of(name: str) -> Path:
    """The directory that holds everything one lab writes; `down` deletes it."""
    return STATE_ROOT / checked_name(name)


def cache_root() -> Path:
    """Where built binaries and roots are kept between labs."""
    return Path(os.environ.get("SIGHTGLASS_LAB_CACHE") or "/var/cache/sightglass-lab")
