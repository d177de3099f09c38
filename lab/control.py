"""The VPN's control plane as its administrator calls it: headscale's API, asked from the host `ops`."""

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

from lab.fleet import Lab

FOR_EVER = "2099-01-01T00:00:00Z"
_CALL = """
import json, sys, time, urllib.request
method, url, key = sys.argv[1:]
headers = {"Authorization": "Bearer " + open(key).read().strip(), "Content-Type": "application/json"}
request = urllib.request.Request(url, sys.stdin.buffer.read() or None, headers, method=method)
with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
    print(json.dumps([json.load(answer), time.time()]))
"""


def call(lab: Lab, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[dict[str, Any], float]:
    """One call: its answer, and when it was there (Unix seconds). Raises HostError when it is refused."""
    words = [sys.executable, "-c", _CALL, method, f"{lab.data['headscale_url']}{path}", str(lab.data["api_key_file"])]
    done = lab.host("ops").run(words, timeout=20, input="" if body is None else json.dumps(body))
    answer, at = json.loads(done.stdout)
    return answer, at


def policy(lab: Lab) -> str:
    """The tailnet's policy, as it was written."""
    return str(call(lab, "GET", "/api/v1/policy")[0]["policy"])


def write_policy(lab: Lab, text: str) -> float:
    """Write it past the role, which keeps the inventory's tests; returns when that was acknowledged (Unix seconds)."""
    return call(lab, "PUT", "/api/v1/policy", {"policy": text})[1]


def change_policy(lab: Lab, change: Callable[[dict[str, Any]], None]) -> tuple[str, float]:
    """Change it in place, without its own tests, which would forbid what is wanted here; returns what it was, and when
    the new one was acknowledged (Unix seconds)."""
    before = policy(lab)
    changed = json.loads(before)
    changed.pop("tests", None)
    change(changed)
    return before, write_policy(lab, json.dumps(changed))


@contextlib.contextmanager
def other_policy(lab: Lab, change: Callable[[dict[str, Any]], None]) -> Iterator[None]:
    """The policy changed while the block runs."""
    before, _ = change_policy(lab, change)
    try:
        yield
    finally:
        write_policy(lab, before)


class Node:
    """A host's node as the control plane keeps it: its key can be made to end, and to be valid again."""

    def __init__(self, lab: Lab, name: str) -> None:
        self._lab = lab
        nodes = call(lab, "GET", "/api/v1/node")[0]["nodes"]
        self._id = next(node["id"] for node in nodes if node["givenName"] == name)

    def expire(self, at: str | None = None) -> float:
        """Let the node's key end now, or at a time; returns when that was acknowledged (Unix seconds)."""
        query = "" if at is None else f"?expiry={at}"
        return call(self._lab, "POST", f"/api/v1/node/{self._id}/expire{query}")[1]

    def delete(self) -> float:
        """Have the control plane forget the node; returns when that was acknowledged (Unix seconds)."""
        return call(self._lab, "DELETE", f"/api/v1/node/{self._id}")[1]
