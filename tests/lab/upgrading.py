"""Other versions of the agent, and how they come to a gateway."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from tests.lab.window.site_under_test import ROOT, Site

NOW, NEXT = "0.1.0", "0.1.1"
ROLE = ("--tags", "sightglass_agent", "--limit", "gw1")
STARTS = '    notify("READY=1")\n'


def wheelhouse(place: Path, *, starts: bool = True) -> Path:
    """One of this agent as its next version, built from a copy below `place`; or one that ends before it is ready."""
    agent = shutil.copytree(ROOT / "agent", place / "agent")
    _edit(agent / "pyproject.toml", f'version = "{NOW}"', f'version = "{NEXT}"')
    if not starts:
        _edit(agent / "src/sightglass/main.py", STARTS, '    raise SystemExit("it never starts")\n')
    made = subprocess.run(
        [sys.executable, agent / "wheelhouse"], capture_output=True, text=True, timeout=120, check=True
    )
    return Path(made.stdout.strip())


def _edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert text.count(old) == 1, f"{file} has another {old!r}"
    file.write_text(text.replace(old, new))


def _asked(given: Path | None) -> tuple[str, ...]:
    return () if given is None else (f"sightglass_agent_wheelhouse={given}",)


def installing(site: Site, given: Path | None = None, *more: str) -> list[str]:
    """The command line of the agent's role for gw1, with a wheelhouse or the inventory's."""
    return site.playing("site", *_asked(given), more=(*ROLE, *more))


def install(site: Site, given: Path | None = None, *more: str) -> subprocess.CompletedProcess[str]:
    """Run it; the caller looks at exit code and output."""
    return site.play("site", *_asked(given), more=(*ROLE, *more), timeout=240)


def installed(site: Site, given: Path | None = None, *more: str) -> None:
    """Run it, and fail the test when it fails."""
    done = install(site, given, *more)
    assert done.returncode == 0, done.stdout[-3000:]


def version(site: Site) -> str:
    """By the agent's own word."""
    return str(site.status()["version"])
