"""A run of CI that is ended, whichever way, ends what it has started."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from lab import wait

ROOT = Path(__file__).parents[2]
# A target that starts what starts something, and lasts.
MAKEFILE = "lasting:\n\t@sleep 301 & sleep 302; wait\n"


def lasting(place: Path) -> list[int]:
    """The processes that a run in this folder has started, which have not ended."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            here = (entry / "cwd").readlink() == place
            if here and (entry / "cmdline").read_bytes().startswith(b"sleep\x0030"):
                found.append(int(entry.name))
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_ended_ends_what_it_started(tmp_path: Path, number: signal.Signals) -> None:
    """By its own trap, or by the watcher that outlives it."""
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    (tmp_path / "Makefile").write_text(MAKEFILE)
    # A shell's background job has SIGINT ignored, and hands that on: no shell script could trap it then.
    words = ["env", "--default-signal=INT", "bash", ".ci/run", "lasting"]
    run = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait.until(lambda: len(lasting(tmp_path)) == 2, 10, "the control: both run")
        run.send_signal(number)
        assert run.wait(20) != 0
        wait.until(lambda: lasting(tmp_path) == [], 10, "nothing of it runs any more")
    finally:
        run.kill()
        for left in lasting(tmp_path):
            os.kill(left, signal.SIGKILL)
