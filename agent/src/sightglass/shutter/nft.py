"""libnftables through ctypes: run commands in this process, as one transaction, without starting a program.

No callback is handed to the library: ctypes would need memory that is writable and executable for one, and the unit
denies that (MemoryDenyWriteExecute).
"""

from __future__ import annotations

import ctypes
import json
from typing import Any, cast

_STATELESS, _HANDLE, _JSON = 1 << 2, 1 << 3, 1 << 4


class NftError(Exception):
    """The kernel or libnftables refused; the text is the first line of its answer."""


class Nft:
    """One libnftables context (one netlink socket). Not for threads."""

    def __init__(self) -> None:
        try:
            library = ctypes.CDLL("libnftables.so.1")
        except OSError as error:
            raise NftError(f"libnftables.so.1 cannot be loaded: {error}") from None
        context = ctypes.c_void_p
        library.nft_ctx_new.restype = context
        library.nft_ctx_new.argtypes = [ctypes.c_uint32]
        library.nft_ctx_output_set_flags.argtypes = [context, ctypes.c_uint]
        library.nft_run_cmd_from_buffer.argtypes = [context, ctypes.c_char_p]
        for name in ("nft_ctx_buffer_output", "nft_ctx_buffer_error"):
            getattr(library, name).argtypes = [context]
        for name in ("nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
            getattr(library, name).argtypes = [context]
            getattr(library, name).restype = ctypes.c_char_p
        self._library = library
        self._context = library.nft_ctx_new(0)
        if not self._context:
            raise NftError("libnftables gave no context")
        # Without buffers the library writes to this process's stdout and stderr.
        if library.nft_ctx_buffer_output(self._context) or library.nft_ctx_buffer_error(self._context):
            raise NftError("libnftables gave no buffer")

    def run(self, commands: str) -> str:
        """Run commands, one a line, as one transaction; returns what they print. Raises NftError."""
        failed = self._library.nft_run_cmd_from_buffer(self._context, commands.encode())
        # Both are read in any case: reading is what empties them.
        output = self._library.nft_ctx_get_output_buffer(self._context) or b""
        error = self._library.nft_ctx_get_error_buffer(self._context) or b""
        if failed:
            lines = error.decode(errors="replace").splitlines() or ["nft failed"]
            # Of what a file says wrong the first line only names the file.
            raise NftError(" ".join(next((line for line in lines if "Error:" in line), lines[0]).split()))
        return cast("bytes", output).decode(errors="replace")

    def objects(self, listing: str, *, counters: bool = False) -> list[dict[str, Any]]:
        """What a `list` command finds, as libnftables' JSON objects, with handles, and without counters' values."""
        self._library.nft_ctx_output_set_flags(self._context, (0 if counters else _STATELESS) | _HANDLE | _JSON)
        try:
            return cast("list[dict[str, Any]]", json.loads(self.run(listing))["nftables"])
        except (ValueError, KeyError) as error:
            raise NftError(f"libnftables' listing cannot be read: {error}") from None
        finally:
            self._library.nft_ctx_output_set_flags(self._context, 0)
