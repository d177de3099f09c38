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
    site.open()
    site.close()  # so the agent knows of a window, which is closed
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


@pytest.mark.requirement("F3")
def test_who_is_outside_is_every_hop_of_now_and_of_earlier(site: Site) -> None:
    """An uplink that was there when the role ran before, and each hop of a route by several; not what is inside."""
    before = site.gateway.run(["cat", FILE]).stdout
    hops = ["nexthop", "via", "192.168.51.2", "dev", "lan0", "nexthop", "via", "10.77.0.1", "dev", "eth0"]
    site.gateway.run(["ip", "route", "add", "default", *hops])
    earlier = 's/^define sightglass_outside = .*/define sightglass_outside = { "tailscale0", "wwan7" }/'
    site.gateway.run(["sed", "-i", earlier, FILE])
    try:
        done = run(site, "--check", "--diff", "-e", '{"sightglass_nftables_inside": ["lan0"]}')
    finally:
        site.gateway.run(["ip", "route", "del", "default"])
        site.gateway.run(["tee", FILE], input=before)
    assert done.returncode == 0, done.stdout[-3000:]
    assert '\n-define sightglass_outside = { "tailscale0", "wwan7" }\n' in done.stdout, "the control"
    assert '\n+define sightglass_outside = { "tailscale0", "eth0", "wwan7" }\n' in done.stdout
    assert '\n+define sightglass_inside = { "lo", "lan0" }\n' in done.stdout
