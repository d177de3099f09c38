"""The requirement table: `python -m tests.requirements build/*.xml` writes docs/requirements.md."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from collections import defaultdict
from pathlib import Path

REQUIREMENTS = {
    "A1": "nothing of ours answers on WAN or LAN, in either family and protocol",
    "A2": "the stream is reachable inside the VPN only",
    "A3": "no port forwarding is configured or asked for, no public tunnel",
    "A4": "the stream server runs on the gateway",
    "A5": "only authorised VPN identities watch, checked at the join and while watching",
    "O1": "a picture only during a window: on purpose, with a reason, for a bounded time",
    "O2": "the lane is verified safe from fresh data before it opens",
    "O3": "the maintainer watches with an ordinary player or browser over the VPN",
    "O4": "framing, focus, glare, blur and angle can be judged",
    "O5": "it ends by command, at its deadline, and by itself when nobody uses it",
    "O6": "an on-site procedure without VPN that opens nothing on the network",
    "P1": "no recording, by configuration and by sandbox",
    "P2": "every viewing is logged with the identity",
    "P3": "snapshots: minimal, restricted, with enforced retention",
    "P4": "plates and faces stay hidden unless a separate, shorter permission shows them",
    "N1": "moderate resolution and rate, with ceilings that no viewer can raise",
    "N2": "streaming never starves MQTT or vision",
    "N3": "optional and easy to turn off; off means no process, listener or camera handle",
    "F1": "with streaming dead or absent, parking and vision run as before",
    "F2": "on a bad network the picture degrades first and nothing else",
    "F3": "not confined to the VPN means closed, also after a crash or a reboot",
    "U1": "a playbook opens a window and closes it",
    "U2": "the whole fleet is disabled at once, with the truth for each site",
    "U3": "a compliance check for CI",
    "U4": "opening and closing are quick, and measured",
    "U5": "who opened, who watched, what was refused: a record that shows a change",
    "L1": "no customer feature, no permanent monitoring, no part of lane safety",
}
HEAD = (
    "# Requirements and their proofs",
    "",
    "Made by `make requirements` from the tests' tags and their last results; do not edit. A requirement without a",
    "passing proof is not done.",
    "",
    "| id | requirement | state | proofs |",
    "|---|---|---|---|",
)
TARGET = Path(__file__).parents[1] / "docs" / "requirements.md"


def proofs(reports: list[Path]) -> dict[str, list[tuple[str, str]]]:
    """Per requirement, the tests that carry its tag, each with its outcome. Parameters of one test count as one."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for report in reports:
        for case in ET.parse(report).getroot().iter("testcase"):
            name = f"{case.get('classname', '').replace('.', '/')}::{case.get('name', '').partition('[')[0]}"
            failed = case.find("failure") is not None or case.find("error") is not None
            outcome = "failed" if failed else "skipped" if case.find("skipped") is not None else "passed"
            for tag in case.iter("property"):
                if tag.get("name") == "requirement":
                    before = found[tag.get("value", "")].get(name, "passed")
                    found[tag.get("value", "")][name] = _worse(before, outcome)
    return {key: sorted(tests.items()) for key, tests in found.items()}


def _worse(one: str, other: str) -> str:
    order = ("passed", "skipped", "failed")
    return max(one, other, key=order.index)


def table(found: dict[str, list[tuple[str, str]]]) -> str:
    """The document."""
    rows, proofs = [], []
    for key, text in REQUIREMENTS.items():
        tests = found.get(key, [])
        rows.append(
            f"| [{key}](#{key.lower()}) | {text} | {_state({outcome for _, outcome in tests})} | {len(tests)} |"
        )
        shown = [f"- `{name}`{'' if outcome == 'passed' else f' ({outcome})'}" for name, outcome in tests]
        proofs += ["", f"## {key}", "", *(shown or ["None yet."])]
    return "\n".join([*HEAD, *rows, *proofs, ""])


def _state(outcomes: set[str]) -> str:
    if not outcomes:
        return "no proof yet"
    if "failed" in outcomes:
        return "failed"
    return "proofs pass" if outcomes == {"passed"} else "proved in part"


def main() -> int:
    """Write the table. Exit code 1 when a report is missing."""
    reports = [Path(name) for name in sys.argv[1:]]
    missing = [str(report) for report in reports if not report.is_file()]
    if missing or not reports:
        sys.stderr.write(f"no test report {' '.join(missing)}: run make unit lab-test first\n")
        return 1
    TARGET.write_text(table(proofs(reports)))
    sys.stdout.write(f"{TARGET.relative_to(TARGET.parents[1])} is written\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
