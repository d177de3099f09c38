"""What the lab's viewers say of what they see: JSON lines, and the number of the frame that is on the screen."""

from __future__ import annotations

import json
import sys
from typing import Any

from lab.strip import read_strip


def say(**fields: object) -> None:
    """One JSON line."""
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


def number(picture: Any) -> int | None:
    """The source's frame number in a picture (rows x columns x 3, BGR), or None where its strip cannot be read."""
    try:
        return read_strip(picture)
    except ValueError:
        return None
