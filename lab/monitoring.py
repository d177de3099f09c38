"""A real Prometheus and node_exporter from Debian, for the tests of the figures. They are parts of no host."""

import shutil
import subprocess
from pathlib import Path

from lab import cache
from lab.cache import entry, key_of
from lab.paths import LabError
from lab.rootfs import RELEASES

PROGRAMS = ("prometheus", "promtool", "prometheus-node-exporter")
_PACKAGES = ("prometheus", "prometheus-node-exporter")
_SUITE = RELEASES[12].suite


def programs() -> Path:
    """The directory of the programs in the cache; fetched (5 s) when it is missing."""
    return entry("monitoring", _key(), "Prometheus and node_exporter", _make)


def place() -> Path:
    """Their entry in the cache, also before they are fetched."""
    return cache.place("monitoring", _key())


def _key() -> str:
    return key_of(_SUITE, _PACKAGES, PROGRAMS)


def _make(directory: Path) -> None:
    # Unpacked only: their maintainer scripts would make users and start services.
    unpacked = directory / "unpacked"
    command = [
        *("mmdebstrap", "--quiet", "--mode=root", "--variant=extract", "--components=main"),
        *(f"--include={','.join(_PACKAGES)}", _SUITE, str(unpacked)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise LabError(f"mmdebstrap failed: {done.stderr.strip()[-1500:]}")
    for name in PROGRAMS:
        shutil.move(unpacked / "usr" / "bin" / name, directory / name)
    shutil.rmtree(unpacked)
