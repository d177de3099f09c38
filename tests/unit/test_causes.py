"""Every end has a name, and each name a sentence: in the code, the record, and on the page."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from sightglass import guards
from sightglass.causes import CAUSES, DEPARTURES, SUSPENSIONS
from sightglass.window import SUSPENDING

PACKAGE = Path(__file__).parents[2] / "agent" / "src" / "sightglass"
CALLS = {"failed": 1, "unknown": 1, "End": 0, "Disable": 0, "loss": 0, "_end_live": 0}
"""Which word of whose call is a cause."""
NAMES = {"cause", "_LOST"}
"""What is given to these is a cause, or has causes as its keys."""
NO_ENDS = {"clock-not-set", "time-unknown", "lane-unknown"}
"""Verdicts that refuse an opening, or suspend a picture, and end no window."""


def named(sources: Iterable[str]) -> set[str]:
    """Every cause that the source gives a window: the codes of verdicts, the first words of ends, and what a table or
    a start names."""
    return {word for source in sources for node in ast.walk(ast.parse(source)) for word in _words(node)}


def _words(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Call):
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        place = CALLS.get(called, len(node.args))
        yield from _constants(node.args[place : place + 1])
    elif isinstance(node, ast.Assign) and any(getattr(target, "id", "") in NAMES for target in node.targets):
        yield from _constants(node.value.keys if isinstance(node.value, ast.Dict) else [node.value])


def _constants(values: Iterable[ast.AST | None]) -> Iterator[str]:
    for value in values:
        for part in ast.walk(value) if value is not None else ():
            if isinstance(part, ast.Constant) and re.fullmatch("[a-z]+(-[a-z]+)*", str(part.value)):
                yield str(part.value)


@pytest.mark.requirement("U5")
def test_every_end_that_the_source_names_is_known() -> None:
    """A cause that nobody described would be a riddle in the record, and one that nothing names a lie in the table."""
    found = named(file.read_text() for file in PACKAGE.rglob("*.py"))
    assert found - NO_ENDS == set(CAUSES)


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
