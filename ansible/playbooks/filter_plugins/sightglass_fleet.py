"""What the gateways of a fleet answered, as the rows of a report: pure, and the same for a screen and for a file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

Answer = Mapping[str, Any]
Row = dict[str, Any]

_OFF = "fleet-off"
_WIDTH = 500
_KEEPS_H = 24
# What an answer of another version, or of a gateway in other hands, raises when it is read as one of ours.
_NONSENSE = (LookupError, TypeError, AttributeError, ValueError, RecursionError)
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


def earlier(text: str, what: str, now: datetime) -> list[Row] | None:
    """The rows of a report of the playbook `what` that is not a day old; None when it is none."""
    try:
        report = json.loads(text)
        rows: list[Row] = report["gateways"]
        made = datetime.fromisoformat(report["made"]).replace(tzinfo=None)
        whole = report["what"] == what and all(
            isinstance(row["site"], str) and isinstance(row["confirmed"], bool) and isinstance(row["at"], str)
            for row in rows
        )
        fresh = timedelta(0) <= now.replace(tzinfo=None) - made < timedelta(hours=_KEEPS_H)
    except _NONSENSE:
        return None
    return rows if whole and fresh else None


def undone(reports: Sequence[str], what: str, text: str) -> list[str]:
    """Those of the files in a folder of reports that are of the other playbook, and newer than the report in `text`."""
    other = {"fleet_off": "fleet_on", "fleet_on": "fleet_off"}.get(what, "")
    try:
        made = json.loads(text)["made"].replace("-", "").replace(":", "")
    except _NONSENSE:
        return []
    return [path for path in reports if f"{other}-{made}.json" < path.rpartition("/")[2] < f"{other}."]


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
    rows = {row["site"]: _kept(row) for row in before if row["confirmed"]}
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


def _kept(row: Row) -> Row:
    """A row of an earlier report: how things were then, which is what it goes on to say."""
    then = f" (at {row['at']})"
    return {**row, "said": f"{line(row.get('said', '')).removesuffix(then)}{then}"}


def _judged(site: str, answer: Answer, state: str, now: datetime, *, check: bool) -> Row:
    fault = failure(answer)
    if fault is not None:
        return _row(site, False, None, fault, now)
    try:
        return _heard(site, answer, state, now, check=check)
    except _NONSENSE as error:
        return _row(site, False, None, f"its answer makes no sense: {error!r}", now)


def _heard(site: str, answer: Answer, state: str, now: datetime, *, check: bool) -> Row:
    if check:
        return _row(site, True, answer["state"], f"it would be {state}" if answer["changed"] else "unchanged", now)
    causes = [mark["cause"] for mark in answer["disabled"]]
    if state == "disabled":
        whole = answer["state"] == "disabled" and _OFF in causes
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
    return {"site": site, "confirmed": confirmed, "state": shown(state), "said": line(said), "at": _at(now)}


def line(said: Any) -> str:
    """What a gateway has said, as a line that neither makes others nor speaks to a terminal."""
    words = " ".join(str(said).split())[:_WIDTH]
    return "".join(letter if letter.isprintable() else "?" for letter in words)


def shown(state: str | None) -> str | None:
    """A state's name, as a word of a column."""
    return None if state is None else line(state)[:12]


def failure(answer: Answer) -> str | None:
    """Why a gateway gave no answer, as one sentence; None when it gave one."""
    said = str(answer.get("msg", ""))
    if answer.get("unreachable"):
        # The last line is ssh's own; Ansible puts its advice before it.
        lines = [each.strip() for each in said.splitlines() if each.strip()]
        last = lines[-1].rpartition("reached over ssh: ")[2].rstrip(".") if lines else "no answer"
        return line(f"unreachable: {last}")
    if answer.get("failed"):
        return line(said.removeprefix("Module failed: ").removeprefix("Task failed: ")) or "failed"
    return None


def standing(found: Mapping[str, Answer | None]) -> list[Row]:
    """The rows of window_status: `site`, `known`, `state` and `said`, a line of what matters of it."""
    return [_stands(site, found[site]) for site in sorted(found, key=_natural)]


def _stands(site: str, answer: Answer | None) -> Row:
    fault = "it was not asked" if answer is None else failure(answer)
    if answer is None or fault is not None:
        return {"site": site, "known": False, "state": None, "said": fault}
    try:
        said, state = line(answer.get("ledger") or _standing(answer["status"])), shown(answer["state"])
    except _NONSENSE as error:
        return {"site": site, "known": False, "state": None, "said": line(f"its answer makes no sense: {error!r}")}
    return {"site": site, "known": not answer.get("ledger"), "state": state, "said": said}


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


def diagnosed(found: Mapping[str, Answer | None]) -> list[Row]:
    """A row for each gateway, by what the command registered: `site`, `sound`, `said` (a sentence) and `findings`.

    A gateway that gave no answer, or none that can be read, is not sound.
    """
    return [{"site": site, **_diagnosis(found[site])} for site in sorted(found, key=_natural)]


def diagnoses(rows: Sequence[Row], whole: bool) -> list[str]:
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


def _diagnosis(answer: Answer | None) -> Row:
    if answer is None:
        return _silent("it was not asked")
    if answer.get("unreachable"):
        return _silent(failure(answer))
    try:
        said = json.loads(answer["stdout"])
        findings = [
            {name: line(finding[name]) for name in ("part", "verdict", "evidence", "do")}
            for finding in said["findings"]
        ]
        ill = {finding["verdict"] for finding in findings} & {"fail", "unknown"}
        return {"sound": said["ok"] is True and not ill, "said": line(said["summary"]), "findings": findings}
    except _NONSENSE:
        why = answer.get("stderr") or answer.get("msg") or "the doctor gave no answer"
        return _silent(why)


def _silent(why: Any) -> Row:
    return {"sound": False, "said": line(why), "findings": []}


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
            "sightglass_undone": undone,
            "sightglass_switched": switched,
            "sightglass_standing": standing,
            "sightglass_failure": failure,
            "sightglass_table": table,
            "sightglass_diagnosed": diagnosed,
            "sightglass_diagnoses": diagnoses,
        }
