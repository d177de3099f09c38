"""A gateway's agent, asked past its command line."""

import json
from typing import Any

from lab.host import Host
from lab.media import TOOLS


def post(gateway: Host, *asked: tuple[str, dict[str, Any]], together: bool = False) -> list[tuple[int, Any, float]]:
    """The agent's answers to bodies, by path: status, JSON, and when the request was sent (Unix seconds). `together`:
    all at once, and not one after another."""
    words = ["python3", "-c", (TOOLS / "post.py").read_text(), *(["together"] if together else [])]
    done = gateway.run(words, input=json.dumps(asked), timeout=60)
    return [(status, answer, at) for status, answer, at in json.loads(done.stdout)]
