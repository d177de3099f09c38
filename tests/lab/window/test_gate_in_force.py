"""The table in the kernel is the one on the disk, also after a run that broke off between the two."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.lab.window.site_under_test import ROOT, Site

FILE = "/etc/sightglass/nftables.nft"
PLAY = ["ansible-playbook", "ansible/playbooks/site.yml", "--tags", "sightglass_nftables", "--limit", "gw1"]


def run(site: Site, *more: str) -> subprocess.CompletedProcess[str]:
    """The firewall's part of site.yml on gw1."""
    return site.lab.host("ops").run([*PLAY, *more], timeout=150, check=False, cwd=str(ROOT))


def changed(done: subprocess.CompletedProcess[str]) -> set[str]:
    """Names of the tasks that changed something, or would."""
    assert done.returncode == 0, done.stdout[-3000:]
    tasks = re.split(r"(?m)^(?:TASK|RUNNING HANDLER) ", done.stdout)
    return {one.partition("]")[0].rpartition(" : ")[2] for one in tasks if re.search(r"(?m)^changed: \[gw1\]", one)}


def table(site: Site) -> str:
    """The gate's table as the kernel has it, with the handle that tells one loading from the next."""
    return site.gateway.run(["nft", "-a", "-s", "list", "table", "inet", "sightglass"]).stdout


@pytest.mark.requirement("F1")
@pytest.mark.requirement("F3")
@pytest.mark.timeout(400, func_only=True)  # four runs of the role
def test_a_table_that_was_written_and_not_loaded_is_loaded_by_the_next_run(site: Site) -> None:
    """A run that broke off had left the new file and the old rules, and no later run saw a difference."""
    site.wait_closed()
    assert changed(run(site)) == set()
    port, mark = "s/elements = { 8189, 8550, /elements = { 8189, /", 's/comment "[0-9a-f]*"/comment "older"/'
    site.gateway.run(["sh", "-c", f"sed -e '{port}' -e '{mark}' {FILE} | nft -f -"])
    before = table(site)
    assert "8550" not in before, "the control: the kernel has other rules than the file"

    assert changed(run(site, "--check")) == {"Load the table that is on the disk"}
    assert table(site) == before, "check mode changes nothing"

    assert changed(run(site)) == {"Load the table that is on the disk"}
    after = table(site)
    assert "elements = { 8189, 8550, 8554, 8889 }" in " ".join(after.split())
    assert changed(run(site)) == set()
    assert table(site) == after, "what is in force is not loaded again: that would end a window"
