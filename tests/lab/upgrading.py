"""Other versions of the agent, and how they come to a gateway."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.lab.window.site_under_test import Site

ROLE = ("--tags", "sightglass_agent", "--limit", "gw1")


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
