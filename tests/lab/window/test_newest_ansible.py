"""The playbooks with the newest ansible-core on another Python; every other test here runs them with the oldest."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from lab import newest_ansible
from lab.paths import LabError
from tests.lab.window.site_under_test import ROOT, Site

Play = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def newest() -> Path:
    """The folder of its commands. Without such a Python nothing is proved here, and the report says so."""
    try:
        return newest_ansible.bin_folder()
    except LabError as no:
        if "there is no Python" not in str(no):
            raise
        pytest.skip(f"not proved: {no}")


@pytest.fixture
def play(site: Site, newest: Path) -> Play:
    """Runs a playbook with it, as an operator does."""

    def run(playbook: str, *words: str) -> subprocess.CompletedProcess[str]:
        path = f"PATH={newest}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
        command = ["env", path, "ansible-playbook", f"ansible/playbooks/{playbook}.yml", *words]
        done = site.lab.host("ops").run(command, timeout=280, check=False, cwd=str(ROOT))
        for word in ("[DEPRECATION WARNING]", "[WARNING]", "Traceback"):
            assert word not in done.stdout + done.stderr, done.stdout + done.stderr
        return done

    return run


@pytest.mark.requirement("U1")
def test_a_window_by_the_newest_ansible(site: Site, newest: Path, play: Play) -> None:
    """Open, look, close; what no gateway would accept is refused; no word of it is deprecated."""
    version = subprocess.run([newest / "ansible", "--version"], capture_output=True, text=True, timeout=60, check=True)
    assert "ansible [core 2.19" not in version.stdout
    assert f"python version = {newest_ansible.PYTHON}" in version.stdout
    asked = ("-e", "site=gw1", "-e", "purpose=debug", "-e", "reason='Plates unread since Monday'")
    opened = play("window_open", *asked)
    assert opened.returncode == 0, opened.stdout
    window = site.status()["window"]
    assert f"open: {window['id']}" in opened.stdout
    assert play("window_open", *asked, "--check").returncode == 2, "a second window is foreseen to be refused"
    shown = play("window_status", "-e", "site=gw1")
    assert shown.returncode == 0, shown.stdout
    assert "gw1: open" in shown.stdout
    closed = play("window_close", "-e", "site=gw1")
    assert closed.returncode == 0, closed.stdout
    assert f"closed: {window['id']}" in closed.stdout
    site.wait_closed()
    for words, sentence in (
        (("-e", "site=gw9", *asked[2:]), "site: must be the name of one gateway (gw1, "),
        ((*asked, "-e", "viewer=anna"), "viewer: is not known here"),
        ((*asked[:4], "-e", '{"reason": "{{ 1 + 1 }}"}'), "reason: must be text and no template"),
    ):
        refused = play("window_open", *words)
        assert refused.returncode == 2
        assert sentence in " ".join(refused.stdout.split())
    assert site.status()["state"] == "closed"


@pytest.mark.requirement("U1")
def test_site_yml_by_the_newest_ansible(play: Play) -> None:
    """In check mode, over a gateway that has everything: it reads all of it, and would change nothing."""
    done = play("site", "--check")
    assert done.returncode == 0, done.stdout[-3000:]
    assert "changed=0" in done.stdout.rpartition("gw1 ")[2], done.stdout[-3000:]
