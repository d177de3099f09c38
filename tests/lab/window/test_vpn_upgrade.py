"""Another tailscaled: the gateway keeps it only when it brings the controller back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import wait
from tests.lab.window.site_under_test import Site

BROKEN = "#!/bin/sh\necho 'a bad build' >&2\nexit 1\n"


def program(site: Site) -> str:
    """SHA-256 of what runs as the VPN's daemon."""
    look = 'sha256sum < "/proc/$(systemctl show -P MainPID tailscaled.service)/exe"'
    return site.gateway.run(["sh", "-c", look]).stdout.split()[0]


@pytest.fixture
def broken(tmp_path: Path) -> Iterator[Path]:
    """A daemon that ends at once."""
    file = tmp_path / "tailscaled"
    file.write_text(BROKEN)
    file.chmod(0o755)
    yield file


@pytest.mark.requirement("A2")
@pytest.mark.timeout(600, func_only=True)  # the gateway's way back, waited for, and two runs of the role
def test_a_daemon_that_does_not_start_is_taken_back(site: Site, broken: Path) -> None:
    """Refused without a word of ours; with it, tried, and undone by the gateway itself. A later run is as ever."""
    before = program(site)
    given = {
        "sightglass_tailscale_daemon_file": str(broken),
        "sightglass_tailscale_daemon_sha256": hashlib.sha256(BROKEN.encode()).hexdigest(),
        "sightglass_tailscale_rollback_s": 40,
    }
    words = ("--limit", "gw1", "--tags", "sightglass_tailscale")
    refused = site.play("site", json.dumps(given), more=words)
    assert refused.returncode == 2
    assert "set sightglass_tailscale_allow_restart to true" in " ".join(refused.stdout.split())
    assert program(site) == before

    tried = site.play("site", json.dumps(given | {"sightglass_tailscale_allow_restart": True}), more=words, timeout=400)
    assert tried.returncode != 0, tried.stdout[-3000:]
    assert "did not bring gw1 back into the VPN" in " ".join(tried.stdout.split()), tried.stdout[-4000:]
    wait.until(lambda: program(site) == before, 60, "the daemon that was there before")
    journal = site.gateway.run(["journalctl", "-u", "tailscaled", "--since", "-5min", "--no-pager", "-o", "cat"]).stdout
    assert "a bad build" in journal, "the control: it was tried"

    site.wait_reachable()
    again = site.play("site", more=words)
    assert again.returncode == 0, again.stdout[-3000:]
    assert "changed=0 " in again.stdout, again.stdout[-3000:]
