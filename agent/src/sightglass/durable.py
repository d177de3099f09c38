"""Writing so that it outlives a power cut: each function returns when the bytes are on disk."""

from __future__ import annotations

import os
from pathlib import Path


def make(directory: Path) -> None:
    """A directory for its owner only; its parent exists."""
    if not directory.exists():
        directory.mkdir(mode=0o700)
        sync(directory.parent)
    directory.chmod(0o700)


def replace(path: Path, text: bytes) -> None:
    """The whole file, or the one before it. Raises OSError, and then the one before it is left."""
    fresh = path.with_suffix(".new")
    fd = os.open(fresh, os.O_WRONLY | os.O_TRUNC | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        write_all(fd, text)
        fresh.replace(path)
    except OSError:
        fresh.unlink()
        raise
    finally:
        os.close(fd)
    sync(path.parent)


def write_all(fd: int, text: bytes) -> None:
    """Every byte, on disk."""
    while text:
        text = text[os.write(fd, text) :]
    os.fsync(fd)


def sync(directory: Path) -> None:
    """A directory's entries."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
