"""The agent's programs change beside those that run: whatever goes wrong, these run on or again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import wait
from lab.next_version import NOW, wheelhouse
from tests.lab.upgrading import install, installed, installing, version
from tests.lab.window.site_under_test import ROOT, Site

SERVER = "/opt/sightglass/bin/mediamtx"
HOME, VENV, BEFORE = "/opt/sightglass/environments", "/opt/sightglass/venv", "/etc/sightglass/before"
SHORTER = ("-e", '{"sightglass_agent_lease_s": 14}')
"""A setting that comes with an upgrade, and must go with it."""


BOTH = ("--tags", "sightglass_nftables,sightglass_mediamtx,sightglass_agent", "--limit", "gw1")
STRANGER = "stranger9"
OTHER_TABLE = json.dumps({"sightglass_nftables_outside": ["eth0", STRANGER]})
"""Another table comes with the upgrade, too."""

ENDS = "#!/bin/sh\necho 'ERR: json: unknown field \"moq\"'\nexit 1\n"


def kept(site: Site) -> str:
    """All that a change may write, and the process that runs: names and checksums."""
    listing = (
        f"readlink {VENV}; ls {HOME}; sha256sum $(find -L /etc/sightglass /etc/systemd/system"
        f" {VENV} -path '*sightglass*' ! -path '{BEFORE}/*' -type f ! -name '*.pyc' | sort)"
    )
    return site.gateway.run(["sh", "-c", listing]).stdout


def runs(site: Site) -> str:
    """Which start of the agent this is."""
    return site.gateway.run(["systemctl", "show", "-P", "InvocationID", "sightglass-agent.service"]).stdout


@pytest.fixture
def little_room(site: Site) -> Iterator[Site]:
    """A file system for the programs in which those that run have 40 MB to spare."""
    mount = (
        f"size=$(du -sm {HOME} | cut -f1) && mkdir /root/small"
        " && mount -t tmpfs -o size=$((size + 40))m none /root/small"
        f" && cp -a {HOME}/. /root/small && mount --bind /root/small {HOME}"
    )
    site.gateway.run(["sh", "-c", mount], timeout=60)
    try:
        yield site
    finally:
        back = f"umount -l {HOME} /root/small; rmdir /root/small; systemctl restart sightglass-agent"
        site.gateway.run(["sh", "-c", back])
        site.wait_guards()


@pytest.mark.requirement("N3")
def test_a_version_that_does_not_start_leaves_the_one_before(site: Site, tmp_path: Path) -> None:
    """Programs, settings and units are again what they were, and the open window has ended with its record."""
    before, window = kept(site), site.open()["id"]
    asked = (f"sightglass_agent_wheelhouse={wheelhouse(tmp_path, starts=False)}", OTHER_TABLE)
    done = site.play("site", *asked, more=(*BOTH, *SHORTER), timeout=240)
    assert done.returncode == 2, done.stdout[-3000:]
    said = " ".join(done.stdout.split())
    assert "TASK [sightglass_nftables : Write the table] " in said
    assert STRANGER not in site.gateway.run(["nft", "list", "table", "inet", "sightglass"]).stdout
    assert "The change of gw1 failed at: Start the agent anew: " in said
    assert "what ran before runs" in said
    assert version(site) == NOW
    assert kept(site) == before
    assert site.gateway.run(["test", "-e", BEFORE], check=False).returncode == 1
    assert site.left() == []
    assert site.cause(window) == "closed", "by name, and not for a strange table"
    site.verify()
    site.wait_guards()
    site.open()


@pytest.mark.requirement("N3")
def test_a_stream_server_that_refuses_its_settings_is_taken_back(site: Site, tmp_path: Path) -> None:
    """It is tried before a window needs it, and the one before is there again. What was open is closed by name."""
    before, window = kept(site), site.open()["id"]
    server = site.gateway.run(["sha256sum", SERVER]).stdout
    file = tmp_path / "mediamtx"
    file.write_text(ENDS)
    given = {
        "sightglass_mediamtx_file": str(file),
        "sightglass_mediamtx_sha256": hashlib.sha256(ENDS.encode()).hexdigest(),
    }
    done = site.play("site", json.dumps(given), more=BOTH, timeout=240)
    assert done.returncode == 2, done.stdout[-3000:]
    said = " ".join(done.stdout.split())
    assert "The change of gw1 failed at: Have the stream server run with what the programs write for it: " in said
    assert 'ERR: json: unknown field "moq"' in said
    assert site.gateway.run(["sha256sum", SERVER]).stdout == server
    assert kept(site) == before
    assert site.cause(window) == "closed"
    assert site.left() == []
    site.wait_guards()
    site.open()


@pytest.mark.requirement("N3")
def test_a_full_disk_leaves_what_runs(little_room: Site, tmp_path: Path) -> None:
    """Half an environment is taken away again, in one sentence, and a window that is open stays so."""
    site = little_room
    before, ran = kept(site), runs(site)
    site.wait_guards()
    window = site.open()["id"]
    done = install(site, wheelhouse(tmp_path), *SHORTER)
    assert done.returncode == 2, done.stdout[-3000:]
    said = " ".join(done.stdout.split())
    assert "The change of gw1 failed at: Install the programs: " in said
    assert "No space left on device" in said
    assert "what ran before runs" in said
    assert (kept(site), runs(site)) == (before, ran)
    assert site.status()["window"]["id"] == window


@pytest.mark.requirement("N3")
def test_a_run_that_broke_off_is_ended_by_the_next(site: Site) -> None:
    """The controller dies between the new settings and their start: nobody notifies that handler again. The next run,
    which finds every file as it must be, knows by what was kept."""
    before, ran, window = kept(site), runs(site), site.open()["id"]
    breaks = site.lab.host("ops").popen(installing(site, None, *SHORTER), cwd=str(ROOT))
    try:
        written = ["grep", "-q", '"lease_s": 14', "/etc/sightglass/agent.json"]
        wait.until(lambda: site.gateway.run(written, check=False).returncode == 0, 200, "the new settings are there")
    finally:
        breaks.kill()
        breaks.wait(5)
    assert runs(site) == ran, "the control: it broke off before they were used"
    assert site.gateway.run(["test", "-d", BEFORE]).returncode == 0
    installed(site, None, *SHORTER)
    assert runs(site) != ran
    assert site.gateway.run(["test", "-e", BEFORE], check=False).returncode == 1
    assert site.cause(window) == "agent-stopped"
    assert site.left() == []
    installed(site)
    assert kept(site) == before
