"""The files that decide what a window's processes are: each must be what the roles have installed, and no other may be.

The roles write `/etc/sightglass/pins.d/*.json`, objects of path to SHA-256. A drop-in of somebody else's for a unit of
ours, a unit of the same name in another place, another stream server: whoever has not been pinned is named.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from sightglass.adapters import clock

LOOK_S = 0.5
"""How often the files are looked at during a window: 0.8 ms each time on the lab's gateway (median of 200)."""
_BASES = tuple(
    f"{place}/systemd/{kind}"
    for kind, places in (
        ("system", ("/etc", "/run", "/usr/local/lib", "/usr/lib", "/lib")),
        ("system.control", ("/etc", "/run")),
        ("transient", ("/run",)),
        ("generator.early", ("/run",)),
        ("generator", ("/run",)),
        ("generator.late", ("/run",)),
    )
    for place in places
)


class Pins:
    """The pins under a directory. `root` is where the paths of the pins begin."""

    def __init__(self, directory: Path, root: Path = Path("/")) -> None:
        self._directory, self._root = directory, root
        self._looked, self._found = -LOOK_S, "nobody has looked yet"
        self._hashes: dict[Path, tuple[tuple[int, int, int], str]] = {}

    def forget(self) -> None:
        """The next question is answered by a look of its own."""
        self._looked = -LOOK_S

    def strange(self) -> str | None:
        """The first file that is not as it was pinned, as a sentence, or None. What cannot be read is strange, too."""
        now = clock.boottime()
        if now >= self._looked + LOOK_S:
            self._looked = now
            try:
                self._found = self._look()
            except (OSError, ValueError, TypeError, AttributeError) as error:
                self._found = f"the installed files cannot be compared with their pins: {error}"
        return self._found or None

    def _look(self) -> str:
        pinned: dict[str, str] = {}
        for file in sorted(self._directory.glob("*.json")):
            pinned |= json.loads(file.read_bytes())
        if not pinned:
            return f"no file is pinned in {self._directory}: run the roles"
        for path, wanted in pinned.items():
            if self._hash(self._root / path.lstrip("/")) != wanted:
                return f"{path} is not the file that was installed"
        units = {Path(path).name for path in pinned if path.endswith((".service", ".socket", ".timer"))}
        for path in self._there(units):
            if path not in pinned:
                return f"{path} is not pinned: it changes a unit of ours"
        return ""

    def _there(self, units: set[str]) -> Iterator[str]:
        """Every unit file and drop-in that systemd may read for these units."""
        wanted = units | {directory for unit in units for directory in _drop_ins(unit)}
        seen: set[tuple[int, int]] = set()
        for base in _BASES:
            place = self._root / base.lstrip("/")
            for name in sorted(wanted & _names(place)):
                path = place / name
                # /lib is /usr/lib on most hosts.
                stat = path.lstat()
                if (stat.st_dev, stat.st_ino) in seen:
                    continue
                seen.add((stat.st_dev, stat.st_ino))
                if name in units:
                    yield f"{base}/{name}"
                else:
                    yield from (f"{base}/{name}/{each}" for each in sorted(_names(path)) if each.endswith(".conf"))

    def _hash(self, path: Path) -> str:
        stat = path.stat()
        signature = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        known = self._hashes.get(path)
        if known is None or known[0] != signature:
            with path.open("rb") as file:
                known = self._hashes[path] = signature, hashlib.file_digest(file, "sha256").hexdigest()
        return known[1]


def _drop_ins(unit: str) -> Iterable[str]:
    """`a-b.service` reads `a-b.service.d`, `a-.service.d` and `service.d`."""
    name, _, kind = unit.rpartition(".")
    parts = name.split("-")
    yield f"{unit}.d"
    yield f"{kind}.d"
    for length in range(1, len(parts)):
        yield f"{'-'.join(parts[:length])}-.{kind}.d"


def _names(place: Path) -> set[str]:
    try:
        return {path.name for path in place.iterdir()}
    except (FileNotFoundError, NotADirectoryError):
        return set()
