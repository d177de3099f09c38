"""What the gateways of a fleet answered, as the rows of a report: pure, and the same for a screen and for a file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

Answer = Mapping[str, Any]
Row = dict[str, Any]

_OFF = "fleet-off"
_WIDTH = 200
_MAX_MINUTES, _LEASE_S = 120, 15  # the agent role's own, for gateways whose inventory says nothing else


def answers(hosts: Sequence[str], hostvars: Mapping[str, Any], name: str) -> dict[str, Answer | None]:
    """What each host has registered as `name`; None for one that was not asked."""
    found = {host: hostvars[host].get(name) for host in hosts}
    return {host: None if answer is None or answer.get("skipped") else answer for host, answer in found.items()}


def longest(hosts: Sequence[str], hostvars: Mapping[str, Any]) -> dict[str, float]:
    """For how many seconds a window of each host can live, and its last lease after it."""
    limits = {host: hostvars[host].get("sightglass_agent_limits") or {} for host in hosts}
    leases = {host: hostvars[host].get("sightglass_agent_lease_s", _LEASE_S) for host in hosts}
    return {host: 60 * float(limits[host].get("max_minutes", _MAX_MINUTES)) + float(leases[host]) for host in hosts}


def earlier(text: str, what: str) -> list[Row] | None:
    """The rows of a report of the playbook `what`; None when it is none."""
    try:
        report = json.loads(text)
        rows: list[Row] = report["gateways"]
        whole = report["what"] == what and all(
            isinstance(row["site"], str) and isinstance(row["confirmed"], bool) for row in rows
        )
    except (ValueError, LookupError, TypeError):
        return None
    return rows if whole else None


def switched(
    found: Mapping[str, Answer | None],
    state: str,
    now: datetime,
    longest: Mapping[str, float],
    before: Sequence[Row] = (),
    check: bool = False,
) -> list[Row]:
    """The rows of fleet_off (`state` disabled) or fleet_on (enabled), sorted by site.

    Each has `site`, `confirmed`, `state`, `said` (a sentence) and `at`. Of one that fleet_off has not reached,
    `ended_by` is the time by which a window that is open there now has ended: `longest` are the seconds that one can
    live, by site. Rows of a report `before` stand for gateways that were not asked again. `check`: nothing was changed.
    """
    rows = {row["site"]: row for row in before if row["confirmed"]}
    for site in {row["site"] for row in before} - set(rows) - set(found):
        rows[site] = _row(site, False, None, "it is not in the inventory any more", now)
    for site, answer in found.items():
        if answer is None:
            rows.setdefault(site, _row(site, False, None, "it was not asked", now))
        else:
            rows[site] = _judged(site, answer, state, now, check=check)
    for row in rows.values():
        if state == "disabled" and not row["confirmed"]:
            row["ended_by"] = _at(now + timedelta(seconds=longest.get(row["site"], max(longest.values(), default=0))))
    return [rows[site] for site in sorted(rows, key=_natural)]


def _judged(site: str, answer: Answer, state: str, now: datetime, *, check: bool) -> Row:
    fault = failure(answer)
    if fault is not None:
        return _row(site, False, None, fault, now)
    if check:
        return _row(site, True, answer["state"], f"it would be {state}" if answer["changed"] else "unchanged", now)
    causes = [mark["cause"] for mark in answer["disabled"]]
    if state == "disabled":
        whole = answer["state"] == "disabled" and (_OFF in causes or not answer["changed"])
        window = answer["window"] if answer["changed"] else None
        closed = f", {window['id']} has ended ({window['cause']})" if window and window.get("cause") == _OFF else ""
        said = ("disabled" if answer["changed"] else "it was disabled already") + closed
        return _row(site, whole, answer["state"], said, now)
    others = "; ".join(str(mark.get("reason", mark["cause"])) for mark in answer["disabled"])
    said = "enabled" if answer["changed"] else "the fleet's mark was not there"
    if others:
        said += f", but it stays disabled: {others}"
    return _row(site, _OFF not in causes, answer["state"], said, now)


def _row(site: str, confirmed: bool, state: str | None, said: str, now: datetime) -> Row:
    return {"site": site, "confirmed": confirmed, "state": state, "said": said, "at": _at(now)}


def failure(answer: Answer) -> str | None:
    """Why a gateway gave no answer, as one sentence; None when it gave one."""
    said = str(answer.get("msg", ""))
    if answer.get("unreachable"):
        # The last line is ssh's own; Ansible puts its advice before it.
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        return f"unreachable: {lines[-1] if lines else 'no answer'}"[:_WIDTH]
    if answer.get("failed"):
        return " ".join(said.removeprefix("Module failed: ").removeprefix("Task failed: ").split())[:_WIDTH] or "failed"
    return None


def standing(found: Mapping[str, Answer | None]) -> list[Row]:
    """The rows of window_status: `site`, `known`, `state` and `said`, a line of what matters of it."""
    rows = []
    for site in sorted(found, key=_natural):
        answer = found[site]
        fault = "it was not asked" if answer is None else failure(answer)
        if answer is None or fault is not None:
            rows.append({"site": site, "known": False, "state": None, "said": fault})
            continue
        rows.append({"site": site, "known": True, "state": answer["state"], "said": _standing(answer["status"])})
        if answer.get("ledger"):
            rows[-1] |= {"known": False, "said": answer["ledger"]}
    return rows


def _standing(status: Mapping[str, Any]) -> str:
    parts = [f"{mark['cause']}: {mark.get('reason', 'nobody can say why')}" for mark in status["disabled"]]
    window, last = status["window"], status["last"]
    if window:
        watching = sum(viewer["watching"] for viewer in window["viewers"])
        until = window["deadline"].replace("+00:00", "Z")
        parts.append(f"{window['id']} for {window['purpose']}, until {until}, {watching} watching")
    elif last:
        parts.append(f"last: {last['id']} ({last['cause']})")
    return "; ".join(parts)


def table(rows: Sequence[Row]) -> list[str]:
    """The rows as lines of a screen, columns under each other."""
    sure = next((name for name in ("confirmed", "known") if rows and name in rows[0]), "")
    cells = [("site", sure, "state", "")]
    for row in rows:
        ended = f"; what is open there has ended by {row['ended_by']}" if "ended_by" in row else ""
        cells.append((row["site"], "yes" if row[sure] else "NO", row["state"] or "?", f"{row['said']}{ended}"))
    widths = [max(len(cell[column]) for cell in cells) for column in range(3)]
    return ["  ".join([*(f"{one:<{width}}" for one, width in zip(cell, widths, strict=False)), cell[3]]).rstrip()
            for cell in cells]  # fmt: skip


def _at(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _natural(site: str) -> tuple[str, int, str]:
    head = site.rstrip("0123456789")
    return head, int(site[len(head) :] or -1), site


class FilterModule:
    """Ansible's names for these."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By name."""
        return {
            "sightglass_answers": answers,
            "sightglass_longest": longest,
            "sightglass_earlier": earlier,
            "sightglass_switched": switched,
            "sightglass_standing": standing,
            "sightglass_failure": failure,
            "sightglass_table": table,
        }
