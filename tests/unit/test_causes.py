"""Every end has a name, and each name a sentence: in the code, the record, and on the page."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from sightglass.causes import CAUSES, DEPARTURES

PACKAGE = Path(__file__).parents[2] / "agent" / "src" / "sightglass"
VERDICTS = {"failed", "unknown"}
NO_ENDS = {"clock-not-set", "time-unknown", "lane-unknown"}
"""Verdicts that refuse an opening, and suspend a picture, and end no window."""


def named() -> set[str]:
    """Every cause that the source gives a window: the codes of verdicts, and the first words of ends."""
    found: set[str] = set()
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            place = 1 if node.func.id in VERDICTS else 0 if node.func.id in {"End", "Disable"} else None
            if place is not None and len(node.args) > place:
                found |= {
                    part.value
                    for part in ast.walk(node.args[place])
                    if isinstance(part, ast.Constant) and isinstance(part.value, str)
                }
    return found


@pytest.mark.requirement("U5")
def test_every_end_that_the_source_names_is_known() -> None:
    """A cause that nobody described would be a riddle in the record."""
    found = named()
    assert {"deadline", "exposure", "load", "agent-stopped"} <= found, "the control: the source is read"
    assert found - NO_ENDS <= set(CAUSES)


@pytest.mark.requirement("U5")
def test_no_name_stands_for_two_things() -> None:
    """A window's end and a viewer's are told apart by name."""
    assert not set(CAUSES) & set(DEPARTURES)
    assert len(set(CAUSES.values())) == len(CAUSES)
