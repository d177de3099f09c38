"""The tailnet's policy made careless, for as long as a block runs."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lab.plan import CONTROL_URL
from tests.lab.window.site_under_test import Site

EVERYTHING = {"src": ["member@", "maintainer@"], "dst": ["tag:gateway"], "ip": ["*"]}
"""The VPN stops nobody: what is left is the gate."""
SECOND_VIEWER = {
    "src": ["member@"],
    "dst": ["tag:gateway"],
    "app": {"sightglass.example/cap/view": [{"sites": ["*"], "cameras": ["*"]}]},
}
# Prints the policy, or writes the one that it is given.
_CALL = """
import json, sys, urllib.request
url, key, given = sys.argv[1:4]
body = json.dumps({"policy": given}).encode() if given else None
headers = {"Authorization": "Bearer " + key, "Content-Type": "application/json"}
request = urllib.request.Request(url + "/api/v1/policy", data=body, method="PUT" if given else "GET", headers=headers)
with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
    print(json.load(answer)["policy"])
"""


def _call(site: Site, given: str = "") -> str:
    described = json.loads((site.lab.state / "lab.json").read_text())
    key = Path(described["api_key_file"]).read_text().strip()
    return site.lab.host("ops").run([sys.executable, "-c", _CALL, CONTROL_URL, key, given]).stdout


@contextlib.contextmanager
def granted(site: Site, *grants: dict[str, Any]) -> Iterator[None]:
    """These grants beside those of the policy, whose own tests would forbid them."""
    before = _call(site)
    policy = json.loads(before)
    policy.pop("tests", None)
    policy["grants"] += grants
    _call(site, json.dumps(policy))
    try:
        yield
    finally:
        _call(site, before)
