"""Every end has a name, and each name a sentence: in the code, the record, and on the page."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable
from pathlib import Path

import pytest

from sightglass import guards
from sightglass.causes import CAUSES, DEPARTURES, SUSPENSIONS
from sightglass.window import SUSPENDING

PACKAGE = Path(__file__).parents[2] / "agent" / "src" / "sightglass"
VERDICTS = {"failed", "unknown"}
NO_ENDS = {"clock-not-set", "time-unknown", *SUSPENSIONS}
"""Verdicts that refuse an opening, or suspend a picture, and end no window."""


def named(sources: Iterable[str]) -> set[str]:
    """Every cause that the source gives a window: the codes of verdicts, and the first words of ends."""
    found: set[str] = set()
    for source in sources:
        for node in ast.walk(ast.parse(source)):
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
    found = named(file.read_text() for file in PACKAGE.rglob("*.py"))
    assert {"deadline", "exposure", "load", "agent-stopped"} <= found, "the control: the source is read"
    assert found - NO_ENDS <= set(CAUSES)


@pytest.mark.requirement("U5")
def test_every_suspension_that_the_source_names_is_known() -> None:
    """Whatever a suspending guard may say, and that it says nothing."""
    said = {guard: named([inspect.getsource(getattr(guards, guard))]) for guard in SUSPENDING}
    assert said["lane"] == {"lane", "lane-unknown"}, "the control: the source is read"
    assert set().union(*said.values(), {f"{guard}-unknown" for guard in SUSPENDING}) == set(SUSPENSIONS)


@pytest.mark.requirement("U5")
def test_no_name_stands_for_two_things() -> None:
    """A window's end and a viewer's are told apart by name."""
    assert not set(CAUSES) & set(DEPARTURES)
    assert len(set(CAUSES.values())) == len(CAUSES)
