"""What the site had before: the roles stop, in one sentence, before they would take it away."""

from __future__ import annotations

import pytest

from lab import wait
from tests.lab.window.site_under_test import ROOT, Site

PLAY = ["ansible-playbook", "ansible/playbooks/site.yml", "--tags", "sightglass_nftables", "--limit", "gw1"]


def refusal(site: Site) -> str:
    """What site.yml says when it stops; fails the test when it does not."""
    done = site.lab.host("ops").run(PLAY, timeout=120, check=False, cwd=str(ROOT))
    assert done.returncode != 0
    assert "changed=0 " in done.stdout.rpartition("PLAY RECAP")[2]
    return " ".join(done.stdout.split())


@pytest.mark.requirement("F1")
@pytest.mark.parametrize("port", [8889, 8800])
def test_a_port_that_somebody_has_is_not_taken_away(site: Site, port: int) -> None:
    """A server of the site on one of our ports, even on loopback: nothing is changed, and the sentence names it."""
    server = site.gateway.popen(["socat", f"TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork", "SYSTEM:echo"])
    try:
        wait.until(lambda: f":{port} " in site.gateway.run(["ss", "-Hltn"]).stdout, 5, "the site's server listens")
        assert "must be free on gw1" in (said := refusal(site))
        assert f"this listens there: tcp 127.0.0.1:{port} of " in said
        assert "Let it listen on another port" in said
    finally:
        server.kill()
        server.wait(5)


@pytest.mark.requirement("F1")
def test_a_firewall_that_is_loaded_from_elsewhere_is_not_replaced(site: Site) -> None:
    """The site has told nftables.service to load a file of its own: our drop-in would put Debian's in its place."""
    own, ours = "/etc/systemd/system/nftables.service", "/etc/systemd/system/nftables.service.d/50-sightglass.conf"
    move = (
        f"sed 's#/etc/nftables.conf#/etc/site.nft#' /lib/systemd/system/nftables.service >{own} && mv {ours} /root/kept"
    )
    site.gateway.run(["sh", "-c", f"{move} && systemctl daemon-reload"])
    try:
        assert "nftables.service must load /etc/nftables.conf" in (said := refusal(site))
        assert "/etc/site.nft" in said
    finally:
        site.gateway.run(["sh", "-c", f"rm {own} && mv /root/kept {ours} && systemctl daemon-reload"])
    done = site.lab.host("ops").run(PLAY, timeout=120, check=False, cwd=str(ROOT))
    assert done.returncode == 0, "the control: without it the same play runs"
    assert "changed=0 " in done.stdout.rpartition("PLAY RECAP")[2]
