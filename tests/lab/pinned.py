"""Changes that a test makes to installed files and that the exposure guard shall not see."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterator

from lab.host import Host

_NUMBERS = itertools.count()


@contextlib.contextmanager
def pinned(gateway: Host, *files: str) -> Iterator[None]:
    """These files count as installed as they are now, for as long as the block runs; the innermost block counts."""
    place = f"/etc/sightglass/pins.d/zz-{next(_NUMBERS):04}.json"
    lines = gateway.run(["sha256sum", *files]).stdout.splitlines()
    gateway.run(
        ["tee", place], input=json.dumps({file: line.split()[0] for file, line in zip(files, lines, strict=True)})
    )
    try:
        yield
    finally:
        gateway.run(["rm", place])
