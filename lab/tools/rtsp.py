"""An RTSP client that says what it is told to: other people's sessions, odd paths, publishing.

`rtsp.py ADDRESS PORT` reads requests from its standard input, one a line: `[method, url, headers, body]`, and answers
each with one line: `{"status": n, "session": …, "body": …}`; the status is null when the server hung up instead. What
comes interleaved (pictures) is counted: `["COUNT", "", {}, ""]` answers `{"status": 0, "packets": n}`.
"""

from __future__ import annotations

import json
import socket
import sys
from typing import Any

WAIT_S = 6.0


class Connection:
    """One connection, made anew after the server has hung up."""

    def __init__(self, address: str, port: int) -> None:
        self._place = (address, port)
        self._socket: socket.socket | None = None
        self._buffer = b""
        self._cseq = 0
        self.packets = 0

    def ask(self, method: str, url: str, headers: dict[str, str], body: str) -> dict[str, Any]:
        """One request and its answer."""
        self._cseq += 1
        lines = [f"{method} {url} RTSP/1.0", f"CSeq: {self._cseq}", *(f"{k}: {v}" for k, v in headers.items())]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        try:
            if self._socket is None:
                self._buffer = b""
                self._socket = socket.create_connection(self._place, timeout=WAIT_S)
            self._socket.sendall("\r\n".join([*lines, "", body]).encode())
            return self._answer()
        except OSError as error:
            if self._socket is not None:
                self._socket.close()
            self._socket = None
            return {"status": None, "why": type(error).__name__}

    def count(self) -> dict[str, Any]:
        """How many packets have come; waits for one more."""
        try:
            self._packet()
        except OSError as error:
            return {"status": None, "why": type(error).__name__, "packets": self.packets}
        return {"status": 0, "packets": self.packets}

    def _answer(self) -> dict[str, Any]:
        while self._need(4)[:1] == b"$":
            self._packet()
        while b"\r\n\r\n" not in self._buffer:
            self._more()
        head, self._buffer = self._buffer.split(b"\r\n\r\n", 1)
        first, *rest = head.decode(errors="replace").split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
        size = int(fields.get("content-length", 0))
        body, self._buffer = self._need(size)[:size], self._buffer[size:]
        session = fields.get("session", "").partition(";")[0]
        return {"status": int(first.split()[1]), "session": session, "body": body.decode(errors="replace")}

    def _packet(self) -> None:
        if self._need(4)[:1] != b"$":
            raise ConnectionError("something else than a picture has come")
        size = 4 + int.from_bytes(self._buffer[2:4], "big")
        self._need(size)
        self._buffer = self._buffer[size:]
        self.packets += 1

    def _need(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._more()
        return self._buffer

    def _more(self) -> None:
        if self._socket is None:
            raise ConnectionError("there is no connection")
        data = self._socket.recv(1 << 16)
        if not data:
            raise ConnectionError("the server hung up")
        self._buffer += data


def main(address: str, port: str) -> None:
    """Ask."""
    connection = Connection(address, int(port))
    for line in sys.stdin:
        method, url, headers, body = json.loads(line)
        answer = connection.count() if method == "COUNT" else connection.ask(method, url, headers, body)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
