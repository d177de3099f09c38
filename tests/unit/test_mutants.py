"""Break it and see: each protection taken out of a copy of the source turns a test red that is green with it.

Breaks on a running gateway (a wildcard listener, no table, no control) are in tests/lab/window/test_break.py.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "agent" / "src" / "sightglass"

MUTANTS = {
    "identity check always yes": (
        "viewers.py",
        '        return "no capability for this site, camera and privacy level"',
        "        return None",
        "tests/unit/test_viewers.py",
    ),
    "lease of an hour": (
        "shutter/verbs.py",
        "MAX_SECONDS = 15",
        "MAX_SECONDS = 3600",
        "tests/unit/test_shutter_verbs.py",
    ),
    "mosaic as identity": (
        "feed/redact.py",
        "    out = np.empty_like(picture)\n",
        "    return picture.copy()\n    out = np.empty_like(picture)\n",
        "tests/unit/test_feed_redact.py::test_mosaic_keeps_only_the_step_of_each_cell",
    ),
    "exact means in the mosaic": (
        "feed/redact.py",
        "    return (totals // (area * STEP) * STEP + STEP // 2).astype(np.uint8)",
        "    return (totals // area).astype(np.uint8)",
        "tests/unit/test_feed_redact.py::test_mosaic_keeps_only_the_step_of_each_cell",
    ),
    "everybody joins": (
        "joins.py",
        "        why = refusal(peer, self.needed)",
        "        why = None",
        "tests/unit/test_joins.py",
    ),
    "everybody publishes": (
        "joins.py",
        "            return self._is_feed(ask)",
        "            return True",
        "tests/unit/test_joins.py",
    ),
    "the console's secret is not asked for": (
        "joins.py",
        '        believed = ask.user == "console" and _same(ask.password, self.console_secret)',
        "        believed = True",
        "tests/unit/test_joins.py",
    ),
    "a join without a name": (
        "joins.py",
        "            self.record(event, data, _person(peer))",
        "            self.record(event, data, None)",
        "tests/unit/test_joins.py",
    ),
    "the hook answers at every path": (
        "adapters/hook.py",
        '        if request is None or request.method != b"POST" or request.target != self._path.encode():',
        "        if request is None:",
        "tests/unit/test_joins.py",
    ),
    "a wildcard bind passes the exposure guard": (
        "guards.py",
        "        if listener.uid in seen.users or (listener.port in seen.ports and _reachable(listener))",
        "        if False and listener",
        "tests/unit/test_guards.py",
    ),
    "a guard that nobody asks": (
        "guards.py",
        '"contact": contact, "exposure": exposure, "load": load}',
        '"contact": contact, "load": load}',
        "tests/unit/test_guards.py",
    ),
    "an old look at the sockets counts": (
        "observer.py",
        "        if self._sockets is None or clock.boottime() - self._sockets[0] > FRESH_S:",
        "        if self._sockets is None:",
        "tests/unit/test_observer_facts.py",
    ),
    "leases whatever the guards say": (
        "agent.py",
        "        return renewable(self.machine, standing, frozenset(guards.STANDING))",
        "        return True",
        "tests/unit/test_agent.py::test_no_lease_is_renewed_past_a_guard",
    ),
    "a lease beyond the deadline": (
        "live.py",
        "max(1, min(self._parts.config.lease_s, left))",
        "self._parts.config.lease_s",
        "tests/unit/test_live.py::test_no_lease_goes_beyond_the_deadline",
    ),
    "the last of two lane states counts": (
        "payload.py",
        "    if len(found) != len(pairs):",
        "    if False:",
        "tests/unit/test_payload.py",
    ),
    "no deadline": (
        "window.py",
        "    if now >= window.deadline:",
        "    if False:",
        "tests/unit/test_window.py",
    ),
    "unknown renews": (
        "window.py",
        "    return alive and required <= {v.guard for v in standing} and decisive(standing) is None",
        "    return alive",
        "tests/unit/test_window.py",
    ),
    "an edited event verifies": (
        "receipts.py",
        'return line(found) == raw and digest(body) == found["hash"]',
        "return True",
        "tests/unit/test_receipts.py",
    ),
}


def run(source: Path, tests: str) -> subprocess.CompletedProcess[str]:
    """Run some tests against another copy of the package."""
    environment = os.environ | {"PYTHONPATH": str(source.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    options = ["-q", "-x", "-p", "no:cacheprovider", "--no-header", "--tb=no"]
    command = [sys.executable, "-m", "pytest", *options, tests]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)


def copied(place: Path) -> Path:
    """The package's sources, below `place`."""
    copy = place / "sightglass"
    shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


@functools.cache
def unchanged(tests: str) -> subprocess.CompletedProcess[str]:
    """The same for a copy that nobody has changed; once, however many mutants these tests must find."""
    with tempfile.TemporaryDirectory() as place:
        return run(copied(Path(place)), tests)


@pytest.mark.requirement("F3")
@pytest.mark.parametrize("name", MUTANTS)
def test_a_protection_that_is_taken_out_turns_a_test_red(name: str, tmp_path: Path) -> None:
    """The same tests pass on an unchanged copy (the control), and fail on the broken one with exit code 1."""
    file, old, new, tests = MUTANTS[name]
    copy = copied(tmp_path)
    text = (copy / file).read_text()
    assert text.count(old) == 1, f"{file} has changed: mend this mutant"
    control = unchanged(tests)
    assert control.returncode == 0, control.stdout
    (copy / file).write_text(text.replace(old, new))
    broken = run(copy, tests)
    assert broken.returncode == 1, broken.stdout
