"""The test fleet's parts that need no machine: names, addresses, the table of binaries, the cache, the inventory."""

import importlib.util
import ipaddress
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from lab import Lab, LabError, cache, plan, tailnet, wait
from lab.binaries import table
from lab.host import Host
from lab.paths import CHECKOUT, checked_name


@pytest.mark.parametrize("name", ["a", "lab", "lab-dev", "a234567890123456"])
def test_good_names(name: str) -> None:
    """A short lower-case word names a lab."""
    assert checked_name(name) == name


@pytest.mark.parametrize("name", ["", "Lab", "1a", "-a", "a/b", "..", "a b", "a\n", "a2345678901234567"])
def test_bad_names_are_refused(name: str) -> None:
    """Whatever could leave the state directory, or is too long for a link, is refused with the value."""
    with pytest.raises(LabError, match="name must be"):
        checked_name(name)


def test_addresses_are_distinct_and_valid() -> None:
    """No two hosts of the largest lab share an address."""
    found = [
        address
        for host in plan.hosts(plan.MAX_GATEWAYS)
        for address in (host.wan4, host.wan6, host.lan4, host.lan6)
        if address
    ]
    assert len({ipaddress.ip_address(address) for address in found}) == len(found)
    assert all(ipaddress.ip_address(address).is_private for address in found)


def test_hosts_of_a_lab() -> None:
    """The hosts are the promised ones; gateways and ops join with a tag, people as users, the others not at all."""
    hosts = {host.name: (host.tag, host.user) for host in plan.hosts(2)}
    assert hosts == {
        "control": (None, None),
        "ops": ("tag:ops", None),
        "maintainer": (None, "maintainer"),
        "member": (None, "member"),
        "wan": (None, None),
        "gw1": ("tag:gateway", None),
        "gw2": ("tag:gateway", None),
        "lan": (None, None),
    }


def test_every_binary_is_pinned() -> None:
    """Version, source and SHA-256 of each binary stand in the table."""
    rows = table(machine="x86_64")
    assert set(rows) == {"tailscale", "tailscaled", "headscale", "mediamtx", "uv"}
    for row in rows.values():
        assert len(bytes.fromhex(row.sha256)) == 32
        assert row.lab.get("sum", "h1:").startswith("h1:")


def test_an_architecture_without_a_pin_is_refused() -> None:
    """A machine for which nothing is pinned is named in one sentence."""
    with pytest.raises(LabError, match=r"has no lab\.sha256 for riscv64"):
        table(machine="riscv64")


def test_an_interrupted_entry_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A builder that fails leaves no entry; the next one clears its remains and builds."""
    monkeypatch.setenv("SIGHTGLASS_LAB_CACHE", str(tmp_path))

    def fails(directory: Path) -> None:
        (directory / "half").touch()
        raise LabError("no network")

    with pytest.raises(LabError):
        cache.entry("thing", "1", "a thing", fails)
    made = cache.entry("thing", "1", "a thing", lambda directory: (directory / "whole").touch())
    assert [path.name for path in made.iterdir()] == ["whole"]
    assert cache.entry("thing", "1", "a thing", fails) == made
    assert [path.name for path in tmp_path.iterdir()] == ["thing-1"]


def test_the_key_follows_the_content(tmp_path: Path) -> None:
    """Another content or another name of any file is another key; compiled leftovers are not looked at."""
    (tmp_path / "a").write_text("1")
    first = cache.tree_hash(tmp_path)
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "a.pyc").write_text("x")
    assert cache.tree_hash(tmp_path) == first
    (tmp_path / "a").write_text("2")
    assert cache.tree_hash(tmp_path) != first
    shutil.move(tmp_path / "a", tmp_path / "b")
    (tmp_path / "b").write_text("1")
    assert cache.tree_hash(tmp_path) != first


def test_addresses_only_of_a_running_client() -> None:
    """A client that is not running has no address yet; of one that is, IPv4 comes first."""
    status: dict[str, Any] = {"BackendState": "Running", "TailscaleIPs": ["fd7a::1", "100.64.0.1"]}
    assert tailnet.addresses(status) == ("100.64.0.1", "fd7a::1")
    assert tailnet.addresses({**status, "BackendState": "Starting"}) is None
    assert tailnet.addresses({"BackendState": "Running", "TailscaleIPs": None}) is None


def test_a_peer_without_relay_cannot_be_reached_yet() -> None:
    """A peer counts only with the relay that leads to it."""
    peer = {"TailscaleIPs": ["100.64.0.2"], "Relay": ""}
    assert not tailnet.can_reach({"Peer": {"k": peer}}, "100.64.0.2")
    assert tailnet.can_reach({"Peer": {"k": {**peer, "Relay": "lab"}}}, "100.64.0.2")
    assert not tailnet.can_reach({"Peer": None}, "100.64.0.2")


def test_until_names_what_and_the_last_thing_seen() -> None:
    """A wait that fails says what for, and what was seen last, be it a value or an error."""
    with pytest.raises(TimeoutError, match=r"the moon: not within 0\.01 s, last seen 0"):
        wait.until(lambda: 0, 0.01, "the moon", every_s=0.001)
    with pytest.raises(TimeoutError, match="ZeroDivisionError"):
        wait.until(lambda: 1 // 0, 0.01, "the moon", every_s=0.001)


def test_the_inventory_reaches_gateways_over_the_vpn_only() -> None:
    """Ansible's address of a gateway is its VPN address, and ssh keeps everything in the lab's state."""
    file = CHECKOUT / "inventories" / "lab" / "hosts.py"
    spec = importlib.util.spec_from_file_location("lab_inventory", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    host = {"wan4": "10.77.0.11", "lan4": "192.168.51.1", "vpn4": "100.64.0.9", "debian": 13}
    found = module.inventory(
        {
            "name": "x",
            "state": "/state",
            "hosts": {"ops": host, **{f"gw{n}": host for n in (1, 2, 10)}},
            "ssh_key_file": "/state/ssh/key",
            "headscale_url": "http://control",
            "api_key_file": "/state/api_key",
            "binaries": {},
        }
    )
    assert found["gateways"]["hosts"] == ["gw1", "gw2", "gw10"]
    assert found["_meta"]["hostvars"]["gw1"]["ansible_host"] == "100.64.0.9"
    assert found["_meta"]["hostvars"]["gw1"]["lab_target"] == "cp313-x86_64"
    arguments = found["gateways"]["vars"]["ansible_ssh_common_args"]
    assert "ControlPath=/state/cm/" in arguments
    assert "UserKnownHostsFile=/state/ssh/" in arguments


def test_a_lab_forgets_the_connections_that_it_keeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A master that lives is asked to go, and waited for; what a killed one left is taken away."""
    place = tmp_path / "cm"
    place.mkdir()
    alive, stale = place / "admin@100.64.0.5", place / "admin@100.64.0.6"
    for socket in (alive, stale):
        socket.touch()
    asked: list[str] = []

    def run(host: Host, words: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        asked.append(f"{host.name}: {' '.join(words)}")
        lives = str(alive) in words[2]
        if lives:
            threading.Timer(0.1, alive.unlink).start()
        return subprocess.CompletedProcess(words, 0 if lives else 255)

    monkeypatch.setattr(Host, "run", run)
    row = dict.fromkeys(("wan4", "wan6", "lan4", "lan6", "vpn4", "vpn6"))
    Lab({"name": "x", "state": str(tmp_path), "hosts": {"ops": row}}).forget_connections()
    assert list(place.iterdir()) == []
    assert sorted(asked) == [f"ops: ssh -o ControlPath={socket} -O exit any" for socket in (alive, stale)]
