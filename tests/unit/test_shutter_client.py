"""The agent's side of the shutter, with a shutter that is taken over."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from sightglass.adapters.shutter import Shutter, ShutterError


@pytest.mark.requirement("U5")
@pytest.mark.parametrize(
    ("said", "heard"),
    [
        ("our table is gone", "our table is gone"),
        ("x\nwindow: closed -> open\x1b[2J\u202e", "x\ufffdwindow: closed -> open\ufffd[2J\ufffd"),
        ("y" * 4000, "y" * 300),
    ],
    ids=["an honest one (control)", "lines of its own", "very long"],
)
def test_a_shutters_error_is_one_short_line(tmp_path: Path, said: str, heard: str) -> None:
    """It stands in the agent's log as the reason of an end."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(json.dumps({"ok": False, "error": said}).encode() + b"\n")
        await writer.drain()
        writer.close()

    async def ask() -> str:
        path = str(tmp_path / "shutter.sock")
        async with await asyncio.start_unix_server(answer, path):
            shutter = await Shutter.connect(path, lambda: None)
            try:
                with pytest.raises(ShutterError) as error:
                    await shutter.renew([], [], 15)
            finally:
                shutter.drop()
        return str(error.value)

    assert asyncio.run(ask()) == heard
