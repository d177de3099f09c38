"""The playbooks with the newest ansible-core on another Python; every other test here runs them with the oldest."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable

import pytest

from lab import newest_ansible
from tests.lab.window.site_under_test import ROOT, Site

Play = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def play(site: Site) -> Play:
    """Runs a playbook with it, as an operator does."""

    def run(playbook: str, *words: str) -> subprocess.CompletedProcess[str]:
        command = newest_ansible.words("playbook", f"ansible/playbooks/{playbook}.yml", *words)
        done = site.lab.host("ops").run(command, timeout=280, check=False, cwd=str(ROOT))
        # It has Ansible and nothing else.
        said = re.sub(r"\[WARNING\]: sightglass_agent: the configuration is .*", "", done.stdout + done.stderr)
        for word in ("[DEPRECATION WARNING]", "[WARNING]", "Traceback"):
            assert word not in said, said
        return done

    return run


@pytest.mark.requirement("U1")
def test_a_window_by_the_newest_ansible(site: Site, play: Play) -> None:
    """Open, look, close; what no gateway would accept is refused; no word of it is deprecated."""
    version = site.lab.host("ops").run(newest_ansible.words("adhoc", "--version"), cwd=str(ROOT)).stdout
    assert "[core 2.19" not in version
    assert f"python version = {newest_ansible.PYTHON}" in version
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
    accepted = play("ledger_accept", "-e", "site=gw1", "-e", "reason='There was no alarm'")
    assert accepted.returncode == 0, accepted.stdout
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
@pytest.mark.requirement("U2")
def test_a_fleet_by_the_newest_ansible(site: Site, play: Play) -> None:
    """What would be off, off, on, and the doctor of every gateway."""
    off = ("-e", "reason='works at all sites'")
    checked = play("fleet_off", *off, "--check")
    assert (checked.returncode, "it would be disabled" in checked.stdout) == (0, True), checked.stdout
    assert site.status()["state"] == "closed"
    done = play("fleet_off", *off)
    assert done.returncode == 0, done.stdout
    assert site.status()["state"] == "disabled"
    back = play("fleet_on", "-e", "reason='the works are over'")
    assert back.returncode == 0, back.stdout
    site.wait_guards()
    examined = play("doctor", "-e", "site=gw1", "-b")
    assert examined.returncode == 0, examined.stdout
    assert "ok      vpn: " in examined.stdout


@pytest.mark.requirement("U1")
def test_site_yml_by_the_newest_ansible(play: Play) -> None:
    """In check mode, over a gateway that has everything: it reads all of it, and would change nothing."""
    done = play("site", "--check", "--limit", "gw1,localhost")
    assert done.returncode == 0, done.stdout[-3000:]
    assert "changed=0" in done.stdout.rpartition("gw1 ")[2], done.stdout[-3000:]
