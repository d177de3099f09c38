"""A node of the VPN as its control plane keeps it: its key can be made to end, and to be valid again."""

import json
from typing import Any

from lab.fleet import Lab

FOR_EVER = "2099-01-01T00:00:00Z"
_CALL = 'curl -sf --noproxy "*" -m 10 -X "$1" -H "Authorization: Bearer $(cat "$2")" "$3" && date +%s.%N'


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

    def _call(self, method: str, path: str) -> list[str]:
        data: dict[str, Any] = self._lab.data
        words = ["sh", "-c", _CALL, "sh", method, str(data["api_key_file"]), f"{data['headscale_url']}{path}"]
        answer, _, at = self._lab.host("ops").run(words, timeout=20).stdout.rstrip().rpartition("}")
        return [f"{answer}}}", at]
