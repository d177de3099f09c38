"""`sightglass metrics`: this gateway in figures, for the screen or for the file that node_exporter reads."""

from __future__ import annotations

import argparse
import http.client
import os
import tempfile
from contextlib import suppress
from pathlib import Path

from sightglass.client import Ended, put, read


def add(verb: argparse.ArgumentParser) -> None:
    """What the verb takes."""
    verb.add_argument("--file", type=_prom, metavar="FILE", help="write it there, whole or not at all; ends in .prom")
    verb.set_defaults(verb=_metrics)


def _prom(text: str) -> Path:
    if not (text.startswith("/") and text.endswith(".prom")):
        raise argparse.ArgumentTypeError(f"must be an absolute path that ends in .prom, not {text[:80]!r}")
    return Path(text)


def _metrics(arguments: argparse.Namespace) -> int:
    if arguments.file is None:
        return put([read(arguments, "/v1/metrics")])
    try:
        text = read(arguments, "/v1/metrics")
    except (Ended, OSError, http.client.HTTPException, ValueError):
        from sightglass.metrics import silent

        # The figures of before would be taken for those of now.
        _write(arguments.file, silent())
        raise
    _write(arguments.file, text)
    return 0


def _write(path: Path, text: str) -> None:
    try:
        # A name that nobody can foresee: the directory may belong to another user.
        fd, fresh = tempfile.mkstemp(prefix=".sightglass-", dir=path.parent)
        try:
            with os.fdopen(fd, "w") as out:
                out.write(text)
                os.fchmod(fd, 0o644)
            Path(fresh).replace(path)
        except BaseException:
            with suppress(OSError):
                Path(fresh).unlink()
            raise
    except OSError as error:
        raise Ended(2, f"--file: {path}: {error.strerror}") from error
