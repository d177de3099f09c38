"""The clocks. Deadlines use CLOCK_BOOTTIME: it runs on in suspend and nobody can set it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path


def boottime() -> float:
    """Seconds since boot, suspend included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def wall() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)


def boot_id() -> str:
    """The kernel's random name for this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
