"""A cache by content: what an entry was made from names it, so nothing in it is ever stale."""

import fcntl
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.paths import cache_root


def say(text: str) -> None:
    """One line of progress, at once."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def step(what: str) -> Iterator[None]:
    """Says how long `what` took."""
    start = time.monotonic()
    yield
    say(f"{time.monotonic() - start:7.2f} s  {what}")


def key_of(*inputs: object) -> str:
    """A short name for everything that the result depends on (JSON values; files as bytes' hashes)."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]


def sha256(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tree_hash(top: Path, pattern: str = "**/*") -> str:
    """One hash over the names and contents of the files below `top`."""
    files = sorted(p for p in top.glob(pattern) if p.is_file() and "__pycache__" not in p.parts)
    return key_of([[str(p.relative_to(top)), sha256(p)] for p in files])


@contextmanager
def builder_lock() -> Iterator[Path]:
    """Only one process fills the cache at a time; others wait for it and find the result. Yields the cache's root."""
    root = cache_root()
    root.mkdir(parents=True, exist_ok=True)
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("         another `lab up` is filling the cache: waiting for it")
            fcntl.flock(fd, fcntl.LOCK_EX)
        yield root
    finally:
        os.close(fd)


def place(kind: str, key: str) -> Path:
    """Where an entry of the cache is, or will be."""
    return cache_root() / f"{kind}-{key}"


def entry(kind: str, key: str, what: str, make: Callable[[Path], None]) -> Path:
    """The cache's directory `kind-key`; when it is missing, `make` fills a temporary one that is then renamed.

    So a directory under its final name is complete, whenever its builder was killed.
    """
    final = place(kind, key)
    if final.exists():
        return final
    with builder_lock() as root:
        if final.exists():
            return final
        for left in root.glob(f"tmp-{kind}-*"):
            shutil.rmtree(left)
        temporary = root / f"tmp-{kind}-{key}"
        temporary.mkdir()
        with step(what):
            make(temporary)
        temporary.rename(final)
    return final
