"""Stands before headscale and lets somebody else's policy be written in the middle of another's change.

Runs on the operators' host: `meddle.py UPSTREAM`, the other policy on stdin; prints its port. Everything is passed on;
before the first answer to `policy/check` the other policy is written, with the caller's own key.
"""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer

OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Between(BaseHTTPRequestHandler):
    """One request passed on."""

    upstream = ""
    other: bytes | None = None

    def do_GET(self) -> None:
        """Pass it on."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)) or None
        answer = self._ask(self.command, self.path, body)
        if self.path.endswith("/policy/check") and self.other is not None:
            status, said = self._ask("PUT", "/api/v1/policy", self.other)
            assert status == 200, said
            Between.other = None
        self.send_response(answer[0])
        self.send_header("Content-Length", str(len(answer[1])))
        self.end_headers()
        self.wfile.write(answer[1])

    def do_POST(self) -> None:
        """The same."""
        self.do_GET()

    def do_PUT(self) -> None:
        """The same."""
        self.do_GET()

    def _ask(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        headers = {"Authorization": self.headers["Authorization"], "Content-Type": "application/json"}
        try:
            with OPENER.open(
                urllib.request.Request(self.upstream + path, body, headers, method=method), timeout=10
            ) as ok:
                return ok.status, ok.read()
        except urllib.error.HTTPError as no:
            return no.code, no.read()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


if __name__ == "__main__":
    Between.upstream, Between.other = sys.argv[1], json.dumps({"policy": sys.stdin.read()}).encode()
    with HTTPServer(("127.0.0.1", 0), Between) as server:
        print(server.server_port, flush=True)
        server.serve_forever()
