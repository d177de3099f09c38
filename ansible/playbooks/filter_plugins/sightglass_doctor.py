"""What `sightglass doctor --json` said on each gateway of a fleet, as rows and as lines for a screen. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_WIDTH = 300


def diagnosed(found: Mapping[str, Mapping[str, Any] | None]) -> list[dict[str, Any]]:
    """A row for each gateway, by what the command registered: `site`, `sound`, `said` (a sentence) and `findings`.

    A gateway that gave no answer, or none that can be read, is not sound.
    """
    return [{"site": site, **_row(answer)} for site, answer in sorted(found.items(), key=lambda item: _key(item[0]))]


def diagnoses(rows: Sequence[Mapping[str, Any]], whole: bool) -> list[str]:
    """The rows as lines: under each gateway what is not ok, with what to do; `whole`: what is ok, too."""
    lines = []
    for row in rows:
        lines.append(f"{row['site']}: {row['said']}")
        for finding in row["findings"]:
            if finding["verdict"] != "ok":
                lines.append(f"  {finding['verdict']:<8}{finding['part']}")
                lines += [f"      {finding['evidence']}", f"      do: {finding['do']}"]
            elif whole:
                lines.append(f"  {finding['verdict']:<8}{finding['part']}: {finding['evidence']}")
    return lines


def _row(answer: Mapping[str, Any] | None) -> dict[str, Any]:
    if answer is None:
        return _silent("it was not asked")
    if answer.get("unreachable"):
        # The last line is ssh's own; Ansible puts its advice before it.
        last = [line.strip() for line in str(answer.get("msg", "")).splitlines() if line.strip()]
        return _silent(f"unreachable: {last[-1] if last else 'no answer'}")
    try:
        said = json.loads(answer["stdout"])
        findings = [
            {name: str(finding[name]) for name in ("part", "verdict", "evidence", "do")} for finding in said["findings"]
        ]
        return {"sound": said["ok"] is True, "said": str(said["summary"]), "findings": findings}
    except (ValueError, LookupError, TypeError):
        why = answer.get("stderr") or answer.get("msg") or "the doctor gave no answer"
        return _silent(" ".join(str(why).split()))


def _silent(why: str) -> dict[str, Any]:
    return {"sound": False, "said": why[:_WIDTH], "findings": []}


def _key(site: str) -> tuple[str, int, str]:
    head = site.rstrip("0123456789")
    return head, int(site[len(head) :] or -1), site


class FilterModule:
    """Ansible's names for these."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By name."""
        return {"sightglass_diagnosed": diagnosed, "sightglass_diagnoses": diagnoses}
