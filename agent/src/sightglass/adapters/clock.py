"""The clocks. Deadlines use CLOCK_BOOTTIME: it runs on in suspend and nobody can set it."""

from __future__ import annotations

import os
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
    """The random name of this boot, as the service manager knows it.

    The unit passes it in BOOT_ID: with ProtectProc= a service has a /proc of its own, and in a container that one shows
    the machine's boot, not the container's.
    """
    return os.environ.get("BOOT_ID") or Path("/proc/sys/kernel/random/boot_id").read_text().strip()
