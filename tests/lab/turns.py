"""Two labs on one machine: a test that takes all of it, or measures what is felt of a load, has it for itself."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def turn(place: Path, *, alone: bool) -> Iterator[None]:
    """Hold the machine while the block runs: beside others, or `alone`. Whoever comes later waits behind who waits.

    Two files in `place`: the lock, and the door in front of it, without which those beside others would let nobody
    alone pass. The kernel gives both back when a process ends.
    """
    with (place / "door").open("w") as door, (place / "machine").open("w") as machine:
        fcntl.flock(door, fcntl.LOCK_EX)
        fcntl.flock(machine, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        if not alone:
            fcntl.flock(door, fcntl.LOCK_UN)
        yield
