"""Scope host: what the site did not declare is cut off, nobody is locked out, and the way back is the gateway's own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from lab import Lab, wait
from lab.host import Host
from tests.lab.window.site_under_test import Site

TABLE = "inet sightglass_host"
FIGURES = {"name": "figures", "protocol": "tcp", "port": 9100}
# Connects to address $1, port $2, and wants to be let in.
_CONNECTS = 'exec 3<>"/dev/tcp/$1/$2"'


def connects(host: Host, address: str | None, port: int) -> bool:
    """Whether this host gets a connection there. Raises when the probe itself could not run."""
    assert address is not None
    done = host.run(["timeout", "3", "bash", "-c", _CONNECTS, "bash", address, str(port)], check=False)
    assert done.returncode in (0, 1, 124), done.stderr
    return done.returncode == 0


@contextmanager
def listening(gateway: Host, port: int) -> Iterator[None]:
    """Something of the site's that listens everywhere."""
    with gateway.popen(["socat", f"TCP6-LISTEN:{port},ipv6-v6only=0,fork,reuseaddr", "SYSTEM:true"]) as server:
        wait.until(lambda: f":{port} " in gateway.run(["ss", "-Hltn"]).stdout, 10, f"somebody listens on port {port}")
        try:
            yield
        finally:
            server.kill()


def firewall(site: Site, **declared: Any) -> subprocess.CompletedProcess[str]:
    """The firewall's part of site.yml on gw1, as the site has declared."""
    words = ("--limit", "gw1", "--tags", "sightglass_nftables")
    given = {f"sightglass_nftables_{name}": value for name, value in declared.items()}
    return site.play("site", json.dumps(given), more=words, timeout=280)


def tables(site: Site) -> list[str]:
    """Names of the tables in force."""
    lines = site.gateway.run(["nft", "list", "tables"]).stdout.splitlines()
    return [line.removeprefix("table ") for line in lines]


@pytest.fixture(scope="module")
def unguarded(converged: Lab) -> Iterator[None]:
    """In the end the gate alone is there, as it was: each test begins with what the one before it has left."""
    yield
    site = Site(converged, converged.host("gw1"), converged.host("maintainer"))
    done = firewall(site, scope="stream")
    assert done.returncode == 0, done.stdout[-3000:]
    assert TABLE not in tables(site)


@pytest.fixture
def guarded(unguarded: None, site: Site) -> Site:
    """The site."""
    return site


@pytest.mark.requirement("F1")
def test_a_socket_that_would_be_cut_off_is_named_and_nothing_is_changed(guarded: Site) -> None:
    """No site loses its broker by surprise: with its process, before anything is written."""
    with listening(guarded.gateway, 9100):
        refused = firewall(guarded, scope="host")
    assert refused.returncode == 2
    assert "would cut off on gw1: tcp *:9100 of socat" in " ".join(refused.stdout.split())
    assert TABLE not in tables(guarded)
    assert guarded.gateway.run(["ls", "/etc/sightglass"]).stdout.count("host") == 0


@pytest.mark.requirement("F3")
@pytest.mark.timeout(600, func_only=True)  # a run of the role and a boot
def test_only_what_was_declared_is_reached_from_then_on(guarded: Site) -> None:
    """Also after a boot, after a flush and with another's table beside it; a window works as before."""
    lab, gateway = guarded.lab, guarded.gateway
    wan, lan = lab.host("wan"), lab.host("lan")
    gateway.run(["nft", "add", "table", "inet", "planted"])
    with listening(gateway, 9100):
        for host, address in ((wan, gateway.wan4), (wan, gateway.wan6), (lan, gateway.lan4), (lan, gateway.lan6)):
            assert connects(host, address, 22), "the control"
            assert connects(host, address, 9100), "the control"
        declared = {"scope": "host", "allow_host": [FIGURES | {"interfaces": ["lan0"]}]}
        done = firewall(guarded, **declared)
        assert done.returncode == 0, done.stdout[-3000:]
        for host, address in ((lan, gateway.lan4), (lan, gateway.lan6)):
            assert connects(host, address, 9100)
            assert not connects(host, address, 22)
        for host, address in ((wan, gateway.wan4), (wan, gateway.wan6)):
            assert not connects(host, address, 9100)
            assert not connects(host, address, 22)
        assert "inet planted" in tables(guarded)

    gateway.run(["nft", "flush", "ruleset"])
    assert connects(wan, gateway.wan4, 22), "the control"
    wait.until(lambda: TABLE in tables(guarded), 60, "the chain is back")
    assert not connects(wan, gateway.wan4, 22)

    lab.reboot("gw1")
    assert TABLE in tables(guarded)
    assert not connects(wan, gateway.wan4, 22)
    guarded.wait_guards(60)
    guarded.open()
    assert guarded.watch()
    guarded.close()


@pytest.mark.requirement("F3")
@pytest.mark.timeout(600, func_only=True)  # the gateway's way back, waited for
def test_rules_that_cut_the_controller_off_are_taken_back(guarded: Site) -> None:
    """By the gateway itself; what was in force before is in force again, and is what the next boot loads."""
    done = firewall(guarded, scope="host")
    assert done.returncode == 0, done.stdout[-3000:]
    before = guarded.gateway.run(["nft", "-s", "list", "table", *TABLE.split()]).stdout
    elsewhere = {"ssh_port": 2222, "deny_host": [{"name": "ssh", "protocol": "tcp", "port": 22}]}
    cut = firewall(guarded, scope="host", rollback_s=20, **elsewhere)
    assert cut.returncode == 2, cut.stdout[-3000:]
    said = " ".join(cut.stdout.split())
    assert "did not let the controller back in to gw1 (failed at: Come back on another one" in said, said[-3000:]
    assert "sightglass_nftables_ssh_port" in said
    assert guarded.gateway.run(["test", "-e", "/run/sightglass-host-trial/undone"], check=False).returncode == 0
    assert guarded.gateway.run(["nft", "-s", "list", "table", *TABLE.split()]).stdout == before
    assert "dport 2222" not in guarded.gateway.run(["cat", "/etc/sightglass/host.nft"]).stdout
    assert "dport 2222" in guarded.gateway.run(["cat", "/etc/sightglass/host.nft.wanted"]).stdout, "the control"
    assert guarded.play("window_status").returncode == 0
