"""What a guard says: an outcome, a code and the reason in one sentence."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass


class Outcome(enum.Enum):
    """`PASS` alone opens and renews. `FAIL` ends a window at once, `UNKNOWN` renews nothing, so the lease decides. Of a
    guard that suspends (window.SUSPENDING) both blank an open window's picture at once, and end nothing."""

    PASS = "pass"
    FAIL = "fail"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One guard's answer. `guard` is its name, `code` is stable, `why` is for a person."""

    guard: str
    outcome: Outcome
    code: str
    why: str


def passed(guard: str, why: str) -> Verdict:
    """The guard is content; `why` gives the evidence."""
    return Verdict(guard, Outcome.PASS, "ok", why)


def failed(guard: str, code: str, why: str) -> Verdict:
    """The guard has seen what must not be."""
    return Verdict(guard, Outcome.FAIL, code, why)


def unknown(guard: str, code: str, why: str) -> Verdict:
    """The guard cannot tell."""
    return Verdict(guard, Outcome.UNKNOWN, code, why)


def decisive(verdicts: Iterable[Verdict]) -> Verdict | None:
    """The verdict that decides: the first failing one, else the first unknown one; None where all pass."""
    found: Verdict | None = None
    for verdict in verdicts:
        if verdict.outcome is Outcome.FAIL:
            return verdict
        if verdict.outcome is Outcome.UNKNOWN and found is None:
            found = verdict
    return found
