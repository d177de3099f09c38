"""How the site's own work goes, against the floors that the site has named: vision, broker, processor.

A streaming window is the guest. What is beyond its limit for long ends the window; a single bad second does not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from sightglass.config import Config
from sightglass.facts import Strain

_CGROUP = Path("/sys/fs/cgroup/system.slice")


GAP_S = 10.0
"""Between two figures: what was beyond its limit before a longer gap begins anew."""


class LoadWatch:
    """Keeps the newest figures. `now` is a boottime."""

    def __init__(self, config: Config, now: Callable[[], float], root: Path = _CGROUP) -> None:
        self._now, self._load, self._root = now, config.load, root
        self._least = {name: lane.fps_min for name, lane in config.lanes.items()}
        self._rates: dict[str, Strain] = {}
        self._broker: Strain | None = None
        self._pressure: Strain | None = None

    def rate(self, lane: str, fps: float | None) -> None:
        """A lane's vision has said its frame rate; None: it should have, and did not."""
        least = self._least[lane]
        low = fps is not None and fps < least
        what = f"the vision's frame rate at {lane}"
        self._rates[lane] = self._strain(self._rates.get(lane), what, fps, f"at least {least:g}", beyond=low)

    def round_trip(self, seconds: float | None) -> None:
        """The broker has answered so quickly; None: it is not connected, which is the lane guard's business."""
        if seconds is None:
            self._broker = None
            return
        most = self._load.round_trip_ms
        taken = round(seconds * 1000, 1)
        what = "the broker's round trip in ms"
        self._broker = self._strain(self._broker, what, taken, f"at most {most:g}", beyond=taken > most)

    def strains(self) -> tuple[Strain, ...]:
        """What is measured now."""
        found = list(self._rates.values())
        if self._broker is not None:
            found.append(self._broker)
        if self._load.unit is not None:
            most, seen = self._load.pressure_percent, self._read(self._load.unit)
            what = f"the processor pressure of {self._load.unit} in %"
            over = seen is not None and seen > most
            self._pressure = self._strain(self._pressure, what, seen, f"at most {most:g}", beyond=over)
            found.append(self._pressure)
        return tuple(found)

    def _strain(self, before: Strain | None, what: str, seen: float | None, limit: str, *, beyond: bool) -> Strain:
        going_on = before is not None and before.since is not None and self._now() <= before.at + GAP_S
        since = None if not beyond else before.since if before and going_on else self._now()
        return Strain(what, seen, limit, since, self._now())

    def _read(self, unit: str) -> float | None:
        """Of the last 10 s, the share in which some task of the unit waited for a processor; None: unreadable."""
        try:
            first = (self._root / unit / "cpu.pressure").read_text().split()
            figure = float(first[1].removeprefix("avg10="))
        except (OSError, ValueError, IndexError):
            return None
        return figure if math.isfinite(figure) else None
