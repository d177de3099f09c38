"""The gateway's own parts: agent, configuration, units, files, kernel gate, clock, record, switch. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sightglass import guards
from sightglass.doctor.finding import Finding, fail, of_guard, ok, unknown, warn
from sightglass.facts import Facts

CONFIG = "/etc/sightglass/agent.json"
RULES = "/etc/sightglass/nftables.nft"
AGENT = "sightglass-agent.service"
UNITS = (
    "sightglass-agent.socket",
    "sightglass-feed-channel.socket",
    "sightglass-console-channel.socket",
    "sightglass-shutter.socket",
    "sightglass-nftables.service",
)
"""What must be active at any time, beside the agent, for a window to open."""
_LOG = "`sudo journalctl -u sightglass-agent -n 20` says why"
_ROLES = "run site.yml for this gateway"
BAD_CONFIGURATION = "2"
"""The agent's exit status for it."""

Unit = Mapping[str, str]


def agent(unit: Unit | None, silent: str | None, last_word: str) -> Finding:
    """The agent's unit by systemd's word; `silent`: why it gave no answer, None when it answered; `last_word` is its
    log's, where the caller may read that."""
    if unit is None:
        if silent is None:
            return unknown("agent", "it answers, and systemd does not say how its unit is", "ask again")
        return fail(
            "agent", f"{silent}, and systemd does not say how its unit is", f"look at the gateway itself; {_LOG}"
        )
    state = f"{AGENT} is {unit.get('ActiveState', '?')} ({unit.get('SubState', '?')})"
    if silent is None:
        if unit.get("UnitFileState") != "enabled":
            return warn("agent", f"it answers, and {AGENT} is not started at boot", f"`sudo systemctl enable {AGENT}`")
        return ok("agent", f"it answers; {state}")
    if unit.get("LoadState") != "loaded":
        return fail("agent", f"{AGENT} is not installed here", _ROLES)
    if unit.get("ActiveState") == "active":
        do = f"`sudo systemctl restart sightglass-agent.socket {AGENT}` (an open window ends); {_LOG}"
        return fail("agent", f"{state}, but gives no answer: {silent}", do)
    if unit.get("ExecMainStatus") == BAD_CONFIGURATION:
        whole = f"{state}: it ended with status {BAD_CONFIGURATION}, for it cannot use its configuration"
        return fail("agent", whole, f"mend {CONFIG}, better its variables and {_ROLES}; it starts by itself then")
    if unit.get("Result") == "success" and unit.get("ActiveState") == "inactive":
        return fail("agent", f"{state}: somebody stopped it", f"start it: `sudo systemctl start {AGENT}`")
    ended = f"{state}: it ended with {unit.get('Result', '?')}, status {unit.get('ExecMainStatus', '?')}"
    return fail("agent", ended + (f"; its last word: {last_word}" if last_word else ""), _LOG)


def not_looked_at() -> Finding:
    """What stands for every part that only the agent sees."""
    parts = "VPN, clock, broker, lanes, cameras, ports, installed files, kernel gate and receipts"
    return unknown("the rest", f"{parts} were not looked at", "mend the agent first, then ask again")


def configuration(wrong: str | None) -> Finding:
    """The file as a start of the agent would find it; `wrong`: what its own check says."""
    if wrong is not None:
        do = f"mend that value in the site's variables and {_ROLES}; or mend {CONFIG} itself, and restart {AGENT}"
        return fail("configuration", wrong, do)
    return ok("configuration", f"{CONFIG} can be used")


def unchecked_configuration(why: str) -> Finding:
    """The file, where nobody could look at it."""
    return unknown("configuration", f"{CONFIG} {why}", "ask again as root: `sudo sightglass doctor`")


def running_configuration(wrong: str | None, same: bool) -> Finding:
    """The file, as an agent that runs sees it: `same` as what it has read at its start."""
    if wrong is not None:
        do = f"mend it before the next restart, which the agent would not survive: {_ROLES}"
        return fail("configuration", f"the agent runs with what it read at its start, and now {wrong}", do)
    if not same:
        do = f"`sudo systemctl restart {AGENT}` (an open window ends)"
        return warn("configuration", f"{CONFIG} is another one than the agent has read at its start", do)
    return ok("configuration", f"the agent runs with what {CONFIG} says")


def units(found: Mapping[str, Unit]) -> Finding:
    """The units that wait for a window."""
    if not found:
        return unknown("units", "systemd does not say how the units are", "ask again")
    for name in UNITS:
        unit = found.get(name, {})
        if unit.get("LoadState") != "loaded":
            return fail("units", f"{name} is not installed", _ROLES)
        if unit.get("ActiveState") != "active":
            state = f"{unit.get('ActiveState', '?')} ({unit.get('SubState', '?')})"
            return fail("units", f"{name} is {state}: no window can open", f"`sudo systemctl start {name}`")
    old = sorted(name for name, unit in found.items() if unit.get("NeedDaemonReload") == "yes")
    if old:
        whole = f"{old[0]} was changed, and systemd has not read it again"
        return warn("units", whole, "`sudo systemctl daemon-reload`; if nobody of yours changed it, find out who")
    return ok("units", f"{len(UNITS)} units wait for a window")


def files(strange: str | None) -> Finding:
    """The installed files against their pins."""
    if strange is None:
        return ok("files", "units, rules and stream server are those that were installed")
    do = f"find out who changed it; then {_ROLES}. A drop-in that is meant goes into sightglass_agent_drop_ins"
    return fail("files", strange, do)


def gate(silent: bool | None, control: bool | None) -> Finding:
    """Whether the kernel gate swallows what is sent to a window's port: `silent` by the probe, `control` whether the
    same probe of a free port that is nobody's is refused, as it must be. None: the probe failed."""
    if silent is None or not control:
        return unknown("kernel gate", "the probe of the kernel gate gave no clear answer", "look as root: see below")
    if not silent:
        do = f"`sudo systemctl reload sightglass-nftables.service`, then find out who took the table away; {_ROLES}"
        return fail("kernel gate", "it is not loaded: what is sent to a window's port is answered by the kernel", do)
    return ok("kernel gate", "it swallows what is sent to a window's port")


def gate_in_use() -> Finding:
    """During a window the shutter watches the table, and ends with it."""
    return ok("kernel gate", "a window is open, and its shutter watches the kernel gate")


def gate_rules(loaded: str | None, wanted: str | None) -> Finding:
    """The kernel's table against its file, each as `nft -j` lists it; None: nft could not."""
    load = f"`sudo systemctl reload sightglass-nftables.service` (an open window ends); if {RULES} is strange, {_ROLES}"
    if loaded is None:
        return fail("gate rules", "the kernel has no table inet sightglass", load)
    if wanted is None:
        return unknown("gate rules", f"{RULES} could not be loaded beside it to compare the two", _ROLES)
    ours, theirs = _rows(loaded), _rows(wanted)
    if ours == theirs:
        return ok("gate rules", f"the kernel has the rules of {RULES}, unchanged")
    names = [name for name, row in ours + theirs if (name, row) not in ours or (name, row) not in theirs]
    where = names[0] if names else "their order"
    return fail("gate rules", f"the kernel does not have the rules of {RULES}: they differ in {where}", load)


def _rows(listed: str) -> list[tuple[str, str]]:
    """Each row's name and its text, without what only traffic and leases change."""
    rows: list[dict[str, Any]] = json.loads(listed)["nftables"]
    # By the rules that fill them: nft's JSON leaves the flag `dynamic` out.
    filled = {name for row in rows if "rule" in row for name in _filled(row["rule"]["expr"])}
    found = []
    for row in rows:
        for kind, value in row.items():
            if kind == "metainfo":
                continue
            if kind == "set" and (value.get("flags") or value["name"] in filled):
                value.pop("elem", None)
            name = value.get("chain") or value.get("name") or kind
            found.append((f"{'chain' if kind == 'rule' else kind} {name}", json.dumps(_still(value), sort_keys=True)))
    return found


def _filled(statements: Sequence[Any]) -> list[str]:
    """The names of the sets to which a rule's statements add elements."""
    sets = [statement["set"] for statement in statements if isinstance(statement, dict) and "set" in statement]
    return [str(each["set"]).removeprefix("@") for each in sets]


def _still(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: None if key == "counter" else _still(each) for key, each in value.items() if key != "handle"}
    return [_still(each) for each in value] if isinstance(value, list) else value


def time(facts: Facts) -> Finding:
    """The guard."""
    do = "set the clock: `timedatectl`, or start a time service (systemd-timesyncd, chrony)"
    return of_guard("clock", guards.time(facts), do, do)


def synchronised(yes: bool | None) -> Finding:
    """Whether the kernel's clock is kept, by systemd's word."""
    if yes is None:
        return unknown("time source", "systemd does not say whether the clock is synchronised", "see `timedatectl`")
    if yes:
        return ok("time source", "a time service keeps the clock")
    do = "start a time service (systemd-timesyncd, chrony) and let it reach a time server: see `timedatectl`"
    return warn("time source", "no time service keeps the clock: the record's times will drift", do)


def enabled(marks: Sequence[Mapping[str, Any]], switch: str) -> Finding:
    """Whether somebody has disabled windows. That is no fault: it warns."""
    if not marks:
        return ok("enabled", "windows are enabled")
    mark = marks[0]
    why = mark.get("reason", "nobody can say why")
    by = f"by {mark.get('user', '?')} at {mark.get('at', '?')}: {why}"
    if mark["cause"] == "switch":
        return warn("enabled", f"windows are off: {why}", f"`sudo rm {switch}` when that is over")
    if mark["cause"] == "fleet-off":
        do = "fleet_on.yml when that is over, or `sightglass enable --fleet --reason …` for this gateway alone"
        return warn("enabled", f"windows are disabled for the whole fleet {by}", do)
    return warn("enabled", f"windows are disabled {by}", "`sightglass enable --reason …` when that is over")


def room(free_bytes: int, enough: bool) -> Finding:
    """The disk of the receipts."""
    free = f"{free_bytes // 1_000_000} MB are free where the receipts are"
    if enough:
        return ok("receipts room", free)
    return fail("receipts room", f"only {free}", "make room on the disk of /var/lib/sightglass: no record, no window")


def receipts(report: Mapping[str, Any] | None) -> Finding:
    """The chain of receipts, as `receipts verify` says it; None: not in time."""
    if report is None:
        return unknown(
            "receipts", "the chain could not be checked in time", "`sightglass receipts verify` takes longer"
        )
    if report["ok"]:
        return ok("receipts", f"the chain is whole: {report['events']} events")
    first = report["problems"][0]
    whole = f"the chain is not whole: {first['name']}, {first['why']}"
    do = "`sightglass receipts verify` names all; keep a copy of /var/lib/sightglass and tell who keeps the ledger"
    return fail("receipts", whole, do)


def exposure(facts: Facts) -> Finding:
    """The guard, for what neither ports nor files explain."""
    failed = "see ports and files; a process that must not listen: find and stop it"
    doubtful = "ask again; if it stays, `ss -Hltun` shows whether the kernel tells at all"
    return of_guard("exposure", guards.exposure(facts), failed, doubtful)
