"""What the page says at an end: every cause of the product has its words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files

import pytest

from sightglass.causes import CAUSES, DEPARTURES, SUSPENSIONS


@pytest.mark.requirement("U5")
@pytest.mark.parametrize(("table", "known"), [("CAUSES", {**CAUSES, **DEPARTURES}), ("SUSPENSIONS", SUSPENSIONS)])
def test_every_cause_has_a_sentence(table: str, known: Mapping[str, str]) -> None:
    """And the page has none for a cause that does not exist, which would be a misspelt one."""
    text = (files("sightglass.console") / "static" / "causes.js").read_text()
    body = re.search(rf"^export const {table} = {{\n(.*?)^}};$", text, re.MULTILINE | re.DOTALL)
    assert body is not None
    said = dict(re.findall(r'^  "?([a-z-]+)"?: "(.+)",$', body[1], re.MULTILINE))
    assert sorted(said) == sorted(known)
    assert [sentence for sentence in said.values() if not sentence.endswith(".") or len(sentence) > 120] == []
