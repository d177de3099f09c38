"""What is asked of a gateway, and what became of it. What was not seen to hold is never `passed`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Word = Literal["passed", "failed", "not assessed"]
MOST = 300  # characters of a reason


class NotAssessed(Exception):  # noqa: N818 - an outcome, not a fault of this program
    """Nobody knows whether a control holds; the message is one sentence that says why."""


@dataclass(frozen=True)
class Control:
    """One test of the suite: its short name, the requirements it belongs to, its sentence, and where it stands."""

    id: str
    requirements: tuple[str, ...]
    sentence: str
    module: str
    test: str


@dataclass(frozen=True)
class Result:
    """What became of one control on one gateway; `why` is one printable line, empty when it passed."""

    control: str
    outcome: Word
    why: str = ""
    seconds: float = 0.0


def line(text: str) -> str:
    """The first line that says something, printable, at most MOST characters: some of it comes from a gateway."""
    first = next((one.strip() for one in text.splitlines() if one.strip()), "no reason was given")
    shown = "".join(each if each.isprintable() else "?" for each in first)
    return shown if len(shown) <= MOST else f"{shown[: MOST - 1]}…"
