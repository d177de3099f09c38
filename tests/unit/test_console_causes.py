"""What the page says at an end: every cause of the product has its words."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

CAUSES_KNOWN = (
    "closed", "deadline", "disabled", "fleet-off", "capability-gone", "peer-gone", "node-expired", "vpn-unknown",
    "vpn-down", "not-vpn-only", "vpn-address-changed", "lane", "exposure", "exposure-unknown", "load", "nobody-joined",
    "last-viewer-gone", "control-silent", "agent-lost", "agent-stopped", "shutter-lost", "feed-lost", "console-lost",
    "server-lost", "not-suspended", "not-ready", "no-room", "host-restarted", "switch",
)  # fmt: skip


@pytest.mark.requirement("U5")
def test_every_cause_has_a_sentence() -> None:
    """And the page has none for a cause that does not exist, which would be a misspelt one."""
    text = (files("sightglass.console") / "static" / "causes.js").read_text()
    said = dict(re.findall(r'^  "?([a-z-]+)"?: "(.+)",$', text, re.MULTILINE))
    assert sorted(said) == sorted(CAUSES_KNOWN)
    assert [sentence for sentence in said.values() if not sentence.endswith(".") or len(sentence) > 120] == []
