"""Whether a unit has processes, from the cgroup tree: readable by anybody, with no bus and no privilege."""

from __future__ import annotations

from pathlib import Path

WINDOW_UNITS = (
    "sightglass-shutter.service",
    "sightglass-mediamtx.service",
    "sightglass-feed.service",
    "sightglass-console.service",
)
_ROOT = Path("/sys/fs/cgroup")


def populated(unit: str, root: Path = _ROOT) -> bool:
    """True while the unit's cgroup holds a process. An unreadable tree counts as populated: unknown is not gone."""
    if not (root / "cgroup.procs").exists():
        return True
    try:
        events = (root / "system.slice" / unit / "cgroup.events").read_text()
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return "populated 0" not in events.splitlines()
