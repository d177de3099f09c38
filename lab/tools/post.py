"""Bodies for a gateway's agent, as they are: no caller's own rules stand before the agent's.

Runs on the gateway. In: a JSON list of `[path, body]`; out: a JSON list of `[status, answer, at]`, `at` being when the
request was sent (Unix seconds). One after another; with `together` as argument all at once, each over its own
connection.
"""

from __future__ import annotations

import concurrent.futures
import http.client
import json
import socket
import sys
import threading
import time


def post(path: str, body: object, ready: threading.Barrier) -> list[object]:
    """One request, sent when all are connected."""
    connection = http.client.HTTPConnection("agent", timeout=40)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect("/run/sightglass-agent.sock")
    ready.wait(20)
    at = time.time()
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    return [answer.status, json.loads(answer.read()), at]


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    crowd = len(asked) if "together" in sys.argv else 1
    ready = threading.Barrier(crowd)
    with concurrent.futures.ThreadPoolExecutor(crowd) as pool:
        print(json.dumps(list(pool.map(lambda each: post(each[0], each[1], ready), asked))))
