"""The agent's configuration changed for as long as a block runs."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

from tests.lab.window.site_under_test import Site

CONFIG = "/etc/sightglass/agent.json"


@contextlib.contextmanager
def configured(site: Site, change: Callable[[dict[str, Any]], None]) -> Iterator[None]:
    """The agent runs with the changed configuration, every guard content, and afterwards with what there was."""
    before = site.gateway.run(["cat", CONFIG]).stdout
    config = json.loads(before)
    change(config)
    _run_with(site, json.dumps(config))
    try:
        yield
    finally:
        _run_with(site, before)


def _run_with(site: Site, text: str) -> None:
    site.gateway.run(["tee", CONFIG], input=text)
    site.gateway.run(["systemctl", "restart", "sightglass-agent.service"])
    site.wait_guards()
