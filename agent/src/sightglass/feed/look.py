"""Looks at cameras' streams for a moment: how large, how often. A process of its own, so that no picture gets into the
agent's memory and no server can hang it. Standard library only.

Reads `{"NAME": "URL", ...}` as one line, writes `{"NAME": {"pictures", "size", "seconds"} | {"trouble"}}` as one for
each, as soon as it is known: what was said counts when the time is over.
"""

from __future__ import annotations

import json
import socket
import struct
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

from sightglass.feed.capture import answer, chunk
from sightglass.feed.multipart import SourceError

LOOK_S = 2.5
"""For one camera, connecting included."""
SEEN_S = 1.2
"""How long its pictures are counted."""
AT_ONCE = 8
"""Sixteen healthy cameras, which a site may have, take 3.3 s then (measured on two busy cores), and what the worst ones
may send at once fits into the agent's memory."""
MOST_BYTES = 16 * 1024 * 1024


def look(url: str) -> dict[str, Any]:
    """One camera. Says of an error what it is, and nothing of the URL."""
    try:
        return _look(url, time.monotonic() + LOOK_S)
    except socket.gaierror:
        return {"trouble": "its name cannot be resolved"}
    except TimeoutError:
        return {"trouble": "no connection in time"}
    except SourceError as error:
        return {"trouble": str(error)}
    except OSError as error:
        return {"trouble": error.strerror or type(error).__name__}
    except (HTTPException, ValueError) as error:
        return {"trouble": f"its answer cannot be read: {type(error).__name__}"}


def _look(text: str, deadline: float) -> dict[str, Any]:
    url = urlsplit(text)
    with socket.create_connection((url.hostname or "", url.port or 80), timeout=LOOK_S / 2) as sock:
        target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        sock.sendall(f"GET {target} HTTP/1.0\r\nHost: {url.netloc}\r\nConnection: close\r\n\r\n".encode())
        parser, rest = answer(sock)
        began, taken = time.monotonic(), len(rest)
        end = min(began + SEEN_S, deadline)
        pictures, last, size, first = 0, b"", None, began
        parts = parser.feed(rest)
        while True:
            for part in parts:
                if part == last:
                    continue  # a hung server repeats its last one for ever
                if pictures == 0:
                    size, first = dimensions(part), time.monotonic()
                pictures, last = pictures + 1, part
            if time.monotonic() >= end or taken > MOST_BYTES:
                break
            try:
                data = chunk(sock, end)
            except SourceError:
                if time.monotonic() >= end and pictures:
                    break
                raise
            taken += len(data)
            parts = parser.feed(data)
    # The first one may have waited in the server; the rate is of those after it.
    return {"pictures": pictures, "size": size, "seconds": round(time.monotonic() - first, 3)}


def dimensions(jpeg: bytes) -> tuple[int, int] | None:
    """Width and height by a JPEG's own head; None when it is none."""
    if not jpeg.startswith(b"\xff\xd8"):
        return None
    at = 2
    while at + 9 <= len(jpeg) and jpeg[at] == 0xFF:
        kind = jpeg[at + 1]
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", jpeg, at + 5)
            return width, height
        at += 2 + struct.unpack_from(">H", jpeg, at + 2)[0]
    return None


def main() -> int:
    """Look at all of them, a few at once."""
    asked: dict[str, str] = json.loads(sys.stdin.readline())
    with ThreadPoolExecutor(AT_ONCE) as pool:
        looks = {pool.submit(look, url): name for name, url in asked.items()}
        for done in as_completed(looks):
            sys.stdout.write(json.dumps({looks[done]: done.result()}) + "\n")
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
