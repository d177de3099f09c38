"""What several pieces must repeat, as other processes or in other languages, reads the same in all of them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from sightglass.api.shapes import OpenBody
from sightglass.config import Config
from sightglass.console import news
from sightglass.feed import job

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


def _most(model: type[BaseModel], field: str) -> int:
    limits = [each.max_length for each in model.model_fields[field].metadata if hasattr(each, "max_length")]
    return int(limits[0])
