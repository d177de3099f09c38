"""The body of an MJPEG stream (multipart/x-mixed-replace), cut into parts. No I/O."""

from __future__ import annotations

import re

MAX_HEAD = 8 * 1024
MAX_PART = 4 * 1024 * 1024  # a sharp 1080p JPEG is well below 1 MiB
_LENGTH = re.compile(rb"^content-length:[ \t]*(\d{1,9})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_BOUNDARY = re.compile(r'boundary="?([^";,\s]{1,70})"?', re.IGNORECASE)


class SourceError(Exception):
    """The source cannot be reached, ended, is too slow, or does not speak MJPEG over HTTP."""


def boundary_of(content_type: str) -> str:
    """The boundary of a Content-Type; SourceError when that is not a multipart stream."""
    found = _BOUNDARY.search(content_type)
    if not content_type.lower().startswith("multipart/") or not found:
        raise SourceError(f"Content-Type must be multipart with a boundary, not {content_type[:80]!r}")
    return found[1]


class Multipart:
    """Takes bytes as they come, gives complete parts; holds one part's bytes at most."""

    def __init__(self, boundary: str) -> None:
        # Many cameras announce the boundary with its leading dashes, some without: both contain this.
        self._delimiter = b"--" + boundary.lstrip("-").encode("latin-1", "replace")
        self._buffer = bytearray()
        self._in_part = False
        self._length: int | None = None

    def feed(self, data: bytes) -> list[bytes]:
        """The parts that `data` completes; SourceError when a part or its head is over its bound."""
        self._buffer += data
        parts: list[bytes] = []
        while True:
            if not self._in_part and not self._take_head():
                return parts
            part = self._take_body()
            if part is None:
                return parts
            parts.append(part)

    def _take_head(self) -> bool:
        start = self._buffer.find(self._delimiter)
        end = self._buffer.find(b"\r\n\r\n", start) if start >= 0 else -1
        if end < 0:
            if len(self._buffer) > MAX_HEAD:
                raise SourceError(f"no part begins within {MAX_HEAD} bytes")
            return False
        length = _LENGTH.search(bytes(self._buffer[start:end]))
        self._length = int(length[1]) if length else None
        if self._length is not None and self._length > MAX_PART:
            raise SourceError(f"a part may have {MAX_PART} bytes, not {self._length}")
        del self._buffer[: end + 4]
        self._in_part = True
        return True

    def _take_body(self) -> bytes | None:
        # With a length a part is complete with its last byte. Without one it takes the next delimiter, which many
        # servers send only with the next frame.
        if self._length is not None:
            end = self._length if len(self._buffer) >= self._length else -1
        else:
            end = self._buffer.find(b"\r\n" + self._delimiter)
        if end < 0:
            if len(self._buffer) > MAX_PART:
                raise SourceError(f"a part may have {MAX_PART} bytes")
            return None
        part = bytes(self._buffer[:end])
        del self._buffer[:end]
        self._in_part = False
        return part
