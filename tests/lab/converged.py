"""One gateway with the roles applied, shared by the window's tests: each starts and ends closed, with an idle lane."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from lab import Lab
from tests.lab.window.site_under_test import ROOT, Site


def converge(lab: Lab) -> None:
    """site.yml, as an operator runs it."""
    # Nobody opens a window at the other gateways, and each vision takes a tenth of a core.
    for other in lab.gateways[1:]:
        other.run(["systemctl", "stop", "parking.service"])
    command = ["ansible-playbook", "ansible/playbooks/site.yml"]
    done = lab.host("ops").run(command, timeout=600, check=False, cwd=str(ROOT))
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]


@pytest.fixture(scope="session")
def converged(lab: Lab) -> Lab:
    """The session's lab after site.yml; an attached lab (LAB_ATTACH=1) is taken as it is."""
    if os.environ.get("LAB_ATTACH") != "1":
        converge(lab)
    return lab


@pytest.fixture
def site(converged: Lab) -> Iterator[Site]:
    """The gateway, closed and idle before and after; at the end the chain is whole and the journal has no traceback."""
    found = Site(converged, converged.host("gw1"), converged.host("maintainer"))
    found.lane("idle")
    found.wait_closed()
    found.wait_guards()
    since = found.journal_end()
    yield found
    found.put_back()
    found.wait_closed()
    found.verify()
    journal = found.journal(since)
    assert "Traceback" not in journal, journal[-3000:]
