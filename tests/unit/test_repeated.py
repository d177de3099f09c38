"""What several pieces must repeat, as other processes or in other languages, reads the same in all of them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from sightglass.api.shapes import OpenBody
from sightglass.config import Config
from sightglass.console import news
from sightglass.feed import job
from tests.unit.shutter_parts import rendered

ROOT = Path(__file__).parents[2]


@pytest.mark.requirement("N1")
def test_a_window_has_as_many_cameras_everywhere() -> None:
    """Four in the API, its document, the playbook, the feed and the console: what one lets in the next one takes."""
    most = job.MAX_CAMERAS
    assert _most(OpenBody, "cameras") == _most(news.Job, "cameras") == most
    document = json.loads((ROOT / "docs/openapi.json").read_text())
    assert document["components"]["schemas"]["OpenBody"]["properties"]["cameras"]["maxItems"] == most
    asked = document["paths"]["/v1/guards"]["get"]["parameters"]
    assert [one["schema"]["maxItems"] for one in asked if one["name"] == "camera"] == [most]
    playbook = (ROOT / "ansible/playbooks/window_open.yml").read_text()
    assert re.findall(r"__cameras \| length <= (\d+)|must be 1 to (\d+) different names", playbook) == [
        (str(most), ""),
        ("", str(most)),
    ]
    assert most <= _most(Config, "cameras"), "of those that a gateway has"


@pytest.mark.requirement("A2")
def test_one_variable_names_the_vpns_interface() -> None:
    """In the kernel's table, in the units that look at it or are confined to it, and in the agent's configuration."""
    assert re.findall(r"sightglass_vif = (.*)", rendered(sightglass_nftables_interface="vpn7")) == ['"vpn7"']
    for role, unit, words in (
        ("sightglass_agent", "sightglass-shutter", r"--interface (\S+)"),
        ("sightglass_agent", "sightglass-console", r"RestrictNetworkInterfaces=lo (.*)"),
        ("sightglass_mediamtx", "sightglass-mediamtx", r"RestrictNetworkInterfaces=lo (.*)"),
    ):
        text = unit_of(role, unit, sightglass_nftables_interface="vpn7")
        assert re.findall(words, text) == ["vpn7"], unit
    config = yaml.safe_load((ROOT / "roles/sightglass_agent/vars/main.yml").read_text())["__sightglass_agent_config"]
    assert config["tailscale"]["interface"] == "{{ sightglass_nftables_interface }}"
    assert [file for file in (ROOT / "roles").glob("*/[tv]*/*") if "tailscale0" in file.read_text()] == []


def unit_of(role: str, name: str, **changed: Any) -> str:
    """A service of a role, with the defaults of that role and of the first one."""
    own = yaml.safe_load((ROOT / f"roles/{role}/defaults/main.yml").read_text())
    return rendered(ROOT / f"roles/{role}/templates/{name}.service.j2", **own, **changed)


def _most(model: type[BaseModel], field: str) -> int:
    limits = [each.max_length for each in model.model_fields[field].metadata if hasattr(each, "max_length")]
    return int(limits[0])
