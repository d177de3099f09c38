"""The whole fleet: `python -m tests.compliance.report` reads {"gateways", "during", "report"}, writes table and JUnit.

`gateways` has, by name, what `assess` wrote about each, or whatever came instead of it. Exit code 0: every control
passed on every gateway; 1: not so; 2: there is nothing to report about.
"""

from __future__ import annotations

import json
import sys
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from tests.compliance import suite
from tests.compliance.outcome import Control, Result, Word, line

FILE = "compliance.xml"


def results(controls: Sequence[Control], answer: Any) -> dict[str, Result]:
    """One result for every control, whatever the answer is: what it does not say was not assessed."""
    try:
        told = json.loads(answer)
        why, found = str(told["why"]), [Result(**one) for one in told["results"]]
        _ = [get_args(Word).index(one.outcome) for one in found]
    except (ValueError, TypeError, LookupError):
        why, found = f"the suite gave no result: {_end(answer)}", []
    by_name = {one.control: one for one in found}
    silent = line(why) if why else "it did not run"
    return {one.id: by_name.get(one.id, Result(one.id, "not assessed", silent)) for one in controls}


def _end(answer: Any) -> str:
    rows = [row for row in str(answer or "").splitlines() if row.strip()]
    return rows[-1] if rows else "no answer"


def table(controls: Sequence[Control], fleet: Mapping[str, Mapping[str, Result]]) -> list[str]:
    """The controls with their sentences, then gateway by control, then a line for each that did not pass."""
    ids = [control.id for control in controls]
    widths = [max(len(name), len("not assessed")) for name in ids]
    first = max(len("gateway"), *map(len, fleet))
    lines = [f"{one.id:<10} {','.join(one.requirements):<9} {one.sentence}" for one in controls]
    lines += ["", "  ".join([f"{'gateway':<{first}}", *(f"{i:<{w}}" for i, w in zip(ids, widths, strict=True))])]
    for name, found in fleet.items():
        words = (found[i].outcome.upper() if found[i].outcome == "failed" else found[i].outcome for i in ids)
        lines.append("  ".join([f"{name:<{first}}", *(f"{x:<{w}}" for x, w in zip(words, widths, strict=True))]))
    return [row.rstrip() for row in [*lines, "", *reasons(fleet)]]


def reasons(fleet: Mapping[str, Mapping[str, Result]]) -> list[str]:
    """One line for each that did not pass; one for a gateway when all its controls have the same to say."""
    lines = []
    for name, found in fleet.items():
        said = {(one.outcome, one.why) for one in found.values()}
        if len(said) == 1:
            lines += [f"{name}: {outcome}: {why}" for outcome, why in said if outcome != "passed"]
        else:
            bad = [one for one in found.values() if one.outcome != "passed"]
            lines += [f"{name}: {one.control}: {one.outcome}: {one.why}" for one in bad]
    return lines


def junit(controls: Sequence[Control], fleet: Mapping[str, Mapping[str, Result]]) -> ET.Element:
    """A suite for each gateway, a case for each of its controls. Not assessed is an error, which no CI passes over."""
    everything = [result for found in fleet.values() for result in found.values()]
    root = ET.Element("testsuites", {"name": "sightglass compliance", **_sums(everything)})
    for name, found in fleet.items():
        within = ET.SubElement(root, "testsuite", {"name": name, "skipped": "0", **_sums(list(found.values()))})
        for control in controls:
            result = found[control.id]
            title = f"{control.test}[{name}]"  # unique in the file, which some CI servers take for granted
            seconds = f"{result.seconds:.3f}"
            case = ET.SubElement(within, "testcase", classname=control.module, name=title, time=seconds)
            properties = ET.SubElement(case, "properties")
            for requirement in control.requirements:
                ET.SubElement(properties, "property", name="requirement", value=requirement)
            ET.SubElement(properties, "property", name="control", value=f"{control.id}: {control.sentence}")
            if result.outcome == "failed":
                ET.SubElement(case, "failure", message=result.why).text = result.why
            elif result.outcome == "not assessed":
                ET.SubElement(case, "error", message=result.why, type="not assessed").text = result.why
    return root


def _sums(found: Sequence[Result]) -> dict[str, str]:
    return {
        "tests": str(len(found)),
        "failures": str(count(found, "failed")),
        "errors": str(count(found, "not assessed")),
        "time": f"{sum(one.seconds for one in found):.3f}",
    }


def count(found: Sequence[Result], outcome: Word) -> int:
    """How many ended so."""
    return sum(one.outcome == outcome for one in found)


def main() -> int:
    given = json.load(sys.stdin)
    asked = suite.Recorder(during=given["during"])
    trouble = suite.run(asked)
    if trouble or not asked.controls or not given["gateways"]:
        sys.stdout.write(line(trouble or "there is no control or no gateway to assess") + "\n")
        return 2
    fleet = {name: results(asked.controls, answer) for name, answer in given["gateways"].items()}
    file = Path(given["report"]) / FILE
    tree = ET.ElementTree(junit(asked.controls, fleet))
    ET.indent(tree)
    tree.write(file, encoding="utf-8", xml_declaration=True)
    everything = [result for found in fleet.values() for result in found.values()]
    failed, unknown = count(everything, "failed"), count(everything, "not assessed")
    passed = len(everything) - failed - unknown
    lines = table(asked.controls, fleet)
    lines += [f"{passed} passed, {failed} failed, {unknown} not assessed, of {len(fleet)} gateways: {file}"]
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if failed or unknown else 0


if __name__ == "__main__":
    sys.exit(main())
