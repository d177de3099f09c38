"""What the doctor says of one part, and how that looks on a screen. Pure, standard library only."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from sightglass import verdict
from sightglass.printable import plain

Verdict: TypeAlias = Literal["ok", "warn", "fail", "unknown"]
VERDICTS: tuple[Verdict, ...] = ("ok", "warn", "fail", "unknown")
MOST_TEXT = 400
"""Characters of an evidence: a library's own words have no bound."""
_BAD = ("fail", "unknown")
_USER = re.compile(r"//[^/\s]*@")
_QUERY = re.compile(r"(?<=[^\s?])\?[^\s\"']+")


@dataclass(frozen=True, slots=True)
class Finding:
    """One part or guard: what was seen, as a sentence, and what to do, as another; that one is empty when it is ok."""

    part: str
    verdict: Verdict
    evidence: str
    do: str = ""


def ok(part: str, evidence: str) -> Finding:
    """Nothing is to be done."""
    return Finding(part, "ok", discreet(evidence))


def warn(part: str, evidence: str, do: str) -> Finding:
    """Windows may open, or will again by themselves; somebody should know all the same."""
    return Finding(part, "warn", discreet(evidence), do)


def fail(part: str, evidence: str, do: str) -> Finding:
    """It keeps windows from opening, or from being what they promise."""
    return Finding(part, "fail", discreet(evidence), do)


def unknown(part: str, evidence: str, do: str) -> Finding:
    """It could not be looked at: that is no ok."""
    return Finding(part, "unknown", discreet(evidence), do)


def of_guard(part: str, said: verdict.Verdict, failed: str, doubtful: str) -> Finding:
    """What a guard says, and what to do where it fails and where nobody knows."""
    if said.outcome is verdict.Outcome.PASS:
        return ok(part, said.why)
    if said.outcome is verdict.Outcome.FAIL:
        return fail(part, said.why, failed)
    return unknown(part, said.why, doubtful)


def discreet(text: str) -> str:
    """One bounded line without what may be a credential: the user and the query of a URL that somebody's words hold."""
    hidden = _QUERY.sub("?***", _USER.sub("//***@", plain(" ".join(text.split()))))
    return hidden if len(hidden) <= MOST_TEXT else hidden[: MOST_TEXT - 3] + "..."


def sound(findings: Sequence[Finding]) -> bool:
    """Nothing fails and nothing is unknown."""
    return not any(finding.verdict in _BAD for finding in findings)


def summary(findings: Sequence[Finding]) -> str:
    """How many of each, in one line."""
    counts = {verdict: sum(finding.verdict == verdict for finding in findings) for verdict in VERDICTS}
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count or verdict == "ok")


def lines(findings: Sequence[Finding], width: int | None = None) -> list[str]:
    """One line for each part; under one that is not ok what was seen and what to do. `width`: of a narrow screen."""
    shown: list[str] = []
    for finding in findings:
        head = f"{finding.verdict:<8}{finding.part}"
        if finding.verdict == "ok":
            shown += _wrapped(f"{head}: {finding.evidence}", " " * 8, width)
            continue
        shown += [head, *_wrapped(f"    {finding.evidence}", " " * 4, width)]
        shown += _wrapped(f"    do: {finding.do}", " " * 8, width)
    return [*shown, summary(findings)]


def read(answer: Sequence[Mapping[str, str]]) -> list[Finding]:
    """Findings as the agent sent them. Raises KeyError, TypeError or ValueError when they are none."""
    found = []
    for each in answer:
        verdict = each["verdict"]
        if verdict not in VERDICTS:
            raise ValueError(f"{verdict!r} is no verdict")
        found.append(Finding(str(each["part"]), verdict, str(each["evidence"]), str(each["do"])))
    return found


def _wrapped(text: str, indent: str, width: int | None) -> list[str]:
    if width is None:
        return [text]
    return textwrap.wrap(text, max(width, 30), subsequent_indent=indent, break_on_hyphens=False, break_long_words=False)
