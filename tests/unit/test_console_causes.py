"""What the page says at an end: every cause of the product has its words."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from sightglass.causes import CAUSES, DEPARTURES


@pytest.mark.requirement("U5")
def test_every_cause_has_a_sentence() -> None:
    """And the page has none for a cause that does not exist, which would be a misspelt one."""
    text = (files("sightglass.console") / "static" / "causes.js").read_text()
    said = dict(re.findall(r'^  "?([a-z-]+)"?: "(.+)",$', text, re.MULTILINE))
    assert sorted(said) == sorted({**CAUSES, **DEPARTURES})
    assert [sentence for sentence in said.values() if not sentence.endswith(".") or len(sentence) > 120] == []
