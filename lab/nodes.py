"""A node of the VPN as its control plane keeps it: its key can be made to end, and to be valid again."""

import json
import sys
from typing import Any

from lab.fleet import Lab

FOR_EVER = "2099-01-01T00:00:00Z"
_CALL = """
import sys, time, urllib.request
method, key, url = sys.argv[1:]
headers = {"Authorization": "Bearer " + open(key).read().strip()}
request = urllib.request.Request(url, method=method, headers=headers)
with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
    print(answer.read().decode().strip())
print(time.time())
"""


class Node:
    """A host's node."""

    def __init__(self, lab: Lab, name: str) -> None:
        self._lab = lab
        nodes = json.loads(self._call("GET", "/api/v1/node")[0])["nodes"]
        self._id = next(node["id"] for node in nodes if node["givenName"] == name)

    def expire(self, at: str | None = None) -> float:
        """Let the node's key end now, or at a time; returns when the control plane acknowledged it (Unix seconds)."""
        query = "" if at is None else f"?expiry={at}"
        return float(self._call("POST", f"/api/v1/node/{self._id}/expire{query}")[1])

    def _call(self, method: str, path: str) -> tuple[str, str]:
        data: dict[str, Any] = self._lab.data
        words = [sys.executable, "-c", _CALL, method, str(data["api_key_file"]), f"{data['headscale_url']}{path}"]
        answer, _, at = self._lab.host("ops").run(words, timeout=20).stdout.strip().rpartition("\n")
        return answer, at
