"""The tests' hand on the parking: one JSON object a line in, one out, on a unix socket."""

import asyncio
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .lane import Mode

_LINE = 4096
_IDLE_S = 60.0

Status = dict[str, Any]


class Control:
    """Serves the verbs `lane`, `camera` and `status`."""

    def __init__(
        self, lane: Callable[[Mode], None], freeze: Callable[[bool], None], status: Callable[[], Status]
    ) -> None:
        self._lane, self._freeze, self._status = lane, freeze, status

    async def serve(self, path: Path) -> asyncio.Server:
        """Listens on `path`, which only its owner may use; what a killed run left there is replaced."""
        return await asyncio.start_unix_server(self._client, sock=_bound(path), limit=_LINE)

    def answer(self, line: bytes) -> dict[str, Any]:
        """Does what one line asks; a bad line changes nothing and is answered by `ok` false and the reason."""
        try:
            request = json.loads(line)
        except ValueError:
            return _refused("the line must be one JSON object")
        if not isinstance(request, dict) or len(request) != 1:
            return _refused("the line must be an object with one of the keys lane, camera, status")
        ((verb, value),) = request.items()
        if verb == "lane":
            if value not in list(Mode):
                return _refused(f"lane must be one of {', '.join(Mode)}, got {value!r}")
            self._lane(Mode(value))
            return {"ok": True}
        if verb == "camera":
            if value not in ("freeze", "run"):
                return _refused(f"camera must be freeze or run, got {value!r}")
            self._freeze(value == "freeze")
            return {"ok": True}
        if verb == "status":
            return self._status()
        return _refused(f"the key must be lane, camera or status, got {verb!r}")

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                async with asyncio.timeout(_IDLE_S):
                    line = await reader.readline()
                    if not line:
                        return
                    writer.write(json.dumps(self.answer(line)).encode() + b"\n")
                    await writer.drain()
        except (TimeoutError, OSError, ValueError):
            return
        finally:
            writer.close()


def _bound(path: Path) -> socket.socket:
    """A socket that nobody can connect to before it has its mode."""
    path.unlink(missing_ok=True)
    channel = socket.socket(socket.AF_UNIX)
    channel.bind(str(path))
    path.chmod(0o600)
    return channel


def _refused(reason: str) -> dict[str, Any]:
    return {"ok": False, "error": reason}
