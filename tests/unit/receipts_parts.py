"""State directories of agents, and what people, power cuts and small disks do to them."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sightglass.receipts import Head
from sightglass.store import Store
from sightglass.verify import Report

SMALL = 1500
"""Bytes of a segment in tests: some four events."""


def chain_of(directory: Path) -> Path:
    """The segment that grows."""
    return directory / "receipts" / "chain.jsonl"


def files_of(directory: Path) -> list[Path]:
    """All segments, in order."""
    return [*sorted((directory / "receipts").glob("chain-*.jsonl")), chain_of(directory)]


def written(directory: Path) -> list[dict[str, Any]]:
    """Every event on the disk."""
    lines = (line for file in files_of(directory) if file.exists() for line in file.read_bytes().splitlines())
    return [json.loads(line) for line in lines]


def names(report: Report) -> list[str]:
    """What a report names, in order."""
    return [problem.name for problem in report.problems]


def work(store: Store, windows: int = 3) -> list[Head]:
    """Some windows, opened by a person each; the head after each event."""
    heads = []
    for n in range(windows):
        window = f"w-{store.head.n}-{n}"
        heads.append(store.append("opening", window, {"cameras": ["cam1"]}, {"user": "ann", "reason": "align it"}))
        heads.append(store.append("opened", window, {}, None))
        heads.append(store.append("closed", window, {"cut_ms": 1.5}, None))
    return heads


@contextmanager
def put_back(directory: Path, *parts: str) -> Iterator[None]:
    """Copy parts of a state directory away, and put the copies back after the block, in place of what is there then."""
    kept = directory.parent / f"{directory.name}.kept"
    for part in parts:
        source, copy = directory / part, kept / part
        copy.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, copy)
        else:
            shutil.copy2(source, copy)
    yield
    for part in parts:
        target, copy = directory / part, kept / part
        if copy.is_dir():
            shutil.rmtree(target)
            shutil.copytree(copy, target)
        else:
            shutil.copy2(copy, target)
    shutil.rmtree(kept)


class PowerCut(BaseException):
    """No `except OSError` sees it, as none sees a power cut."""


@contextmanager
def power_cut(patch: pytest.MonkeyPatch, call: int, *, half: bool) -> Iterator[list[str]]:
    """The `call`th change of the disk (from 1) does not happen, or half of it when it is a write; yields their names.

    What was not synced is still there afterwards: a killed process, not a disk that forgets.
    """
    calls: list[str] = []

    def wrap(name: str) -> None:
        real = getattr(os, name)

        def changed(*args: Any, **options: Any) -> Any:
            calls.append(name)
            if len(calls) == call:
                if half and name == "write":
                    real(args[0], args[1][: len(args[1]) // 2])
                raise PowerCut
            return real(*args, **options)

        patch.setattr(os, name, changed)

    with patch.context() as patch:
        for name in ("open", "write", "fsync", "rename", "replace", "unlink", "truncate", "mkdir"):
            wrap(name)
        yield calls


@contextmanager
def mounted(place: Path, size: str) -> Iterator[Path]:
    """A real file system of that size at a new directory."""
    if os.getuid() != 0:
        pytest.skip("mounting a small file system needs root")
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "receipts-test", place], check=True, timeout=10)
    try:
        (place / "state").mkdir()
        yield place / "state"
    finally:
        subprocess.run(["umount", place], check=True, timeout=10)


def fill(directory: Path) -> Path:
    """Take every byte that is left."""
    ballast = directory.parent / "ballast"
    with ballast.open("ab", buffering=0) as out, pytest.raises(OSError, match="No space left"):
        while True:
            out.write(b"x" * 4096)
    return ballast


@contextmanager
def full_disk() -> Iterator[None]:
    """No byte can be written."""

    def full(_fd: int, _text: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.MonkeyPatch.context() as disk:
        disk.setattr(os, "write", full)
        yield
