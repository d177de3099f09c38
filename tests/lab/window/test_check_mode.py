"""Check mode says what a run would change, and nothing else, and changes nothing."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.lab.window.site_under_test import ROOT, Site

SERVER = "another stream server\n"
SETTINGS: dict[str, Any] = {
    "sightglass_nftables_inside": ["lan0"],
    "sightglass_tailscale_upload_logs": True,
    "sightglass_tailscale_allow_restart": True,
    "sightglass_agent_lease_s": 14,
}
"""Of each role, beside the stream server's program."""
SHOWN = {
    "nftables : Write the table",
    "nftables : Load the table that is on the disk",
    "tailscale : Say that the daemon would be restarted",
    "tailscale : Write the settings that matter",
    "mediamtx : Install MediaMTX",
    "agent : Write the configuration",
    "agent : Start the agent anew",
}


def changed(site: Site, **settings: Any) -> set[str]:
    """The tasks of gw1 that check mode calls changed, by role and name."""
    words = site.playing("site", json.dumps(settings), more=("--check", "--diff", "--limit", "gw1"))
    shown = ["env", "ANSIBLE_STDOUT_CALLBACK=ansible.posix.json", *words]
    done = site.lab.host("ops").run(shown, timeout=200, check=False, cwd=str(ROOT))
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr
    said = json.loads(done.stdout)
    tasks = [task for play in said["plays"] for task in play["tasks"]]
    return {
        task["task"]["name"].replace("sightglass_", "")
        for task in tasks
        if any(answer.get("changed") for answer in task["hosts"].values())
    }


@pytest.mark.requirement("U1")
def test_a_changed_setting_is_shown_and_no_other(site: Site, tmp_path: Path) -> None:
    """Nothing is shown of a gateway that is as it shall be, which it still is after the first look."""
    file = tmp_path / "mediamtx"
    file.write_text(SERVER)
    server = {
        "sightglass_mediamtx_file": str(file),
        "sightglass_mediamtx_sha256": hashlib.sha256(SERVER.encode()).hexdigest(),
    }
    assert changed(site, **SETTINGS, **server) == SHOWN
    assert changed(site) == set()
