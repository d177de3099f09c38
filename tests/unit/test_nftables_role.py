"""The role's files: they load, and survive what nftables.service does."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.shutter_parts import ROLE, ROOT, Net, needs_kernel, net, rendered

UNITS = ROOT / "roles/sightglass_agent/templates"


@pytest.fixture(scope="module")
def lab() -> Iterator[Net]:
    """Namespaces with the table loaded."""
    with net() as made:
        yield made


@needs_kernel
@pytest.mark.requirement("F3")
def test_the_table_loads_again_and_leaves_others_alone(lab: Net) -> None:
    """A second load changes no line, and somebody else's table stays."""
    lab.gateway.load("table inet site { chain c { type filter hook input priority 0; }; }\n")
    before = lab.gateway.run("nft", "-s", "list", "ruleset")
    lab.gateway.load(rendered())
    assert sorted(lab.gateway.run("nft", "-s", "list", "ruleset").splitlines()) == sorted(before.splitlines())


@needs_kernel
@pytest.mark.requirement("U1")
@pytest.mark.parametrize(
    "sources",
    [[], [{"address": "10.0.0.9", "port": 554}, {"address": "::1", "port": 80}, {"address": "10.0.0.8", "port": 554}]],
    ids=["none", "both families"],
)
def test_camera_sources_of_every_kind_load(lab: Net, sources: list[dict[str, Any]]) -> None:
    """No source at all and several of both families give a table that loads and holds them."""
    lab.gateway.load(rendered(sightglass_nftables_feed_sources=sources))
    listed = lab.gateway.run("nft", "list", "table", "inet", "sightglass")
    for source in sources:
        assert f"{source['address']} . {source['port']}" in listed


@needs_kernel
@pytest.mark.requirement("F3")
def test_reload_and_stop_of_the_sites_firewall_keep_the_gate(lab: Net, tmp_path: Path) -> None:
    """Site rules that flush everything load together with the gate, and the stop leaves the gate."""
    (tmp_path / "site.nft").write_text(
        "#!/usr/sbin/nft -f\nflush ruleset\ndefine vif = lan0\n"
        "table inet site { chain c { type filter hook input priority 0; iifname $vif accept; }; }\n"
    )
    (tmp_path / "gate.nft").write_text(rendered())
    for name in ("site-and-gate.nft.j2", "gate-only.nft.j2"):
        text = rendered(name).replace("/etc/nftables.conf", str(tmp_path / "site.nft"))
        (tmp_path / name).write_text(text.replace("/etc/sightglass/nftables.nft", str(tmp_path / "gate.nft")))
    # Twice: the second time there is something to flush.
    for _ in range(2):
        lab.gateway.run("nft", "-f", str(tmp_path / "site-and-gate.nft.j2"))
        assert lab.gateway.run("nft", "list", "tables").split("\n")[:2] == ["table inet site", "table inet sightglass"]
    lab.gateway.run("nft", "-f", str(tmp_path / "gate-only.nft.j2"))
    assert lab.gateway.run("nft", "list", "tables") == "table inet sightglass\n"


@pytest.mark.requirement("A2")
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_the_shutters_unit_is_shut_in(tmp_path: Path) -> None:
    """systemd knows every option of the units, and rates the shutter's exposure at 1.5 at most."""
    for template in (UNITS / "sightglass-shutter.service.j2", UNITS / "sightglass-shutter.socket.j2"):
        (tmp_path / template.stem).write_text(rendered(template))
    (tmp_path / "sightglass-nftables.service").write_text(rendered("sightglass-nftables.service.j2"))
    units = [str(tmp_path / name) for name in ("sightglass-shutter.service", "sightglass-nftables.service")]
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, timeout=30, check=False
    )
    assert "Unknown" not in verified.stderr, verified.stderr
    assert "Failed to parse" not in verified.stderr, verified.stderr
    rated = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=15", "--no-pager", units[0]],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert rated.returncode == 0, rated.stdout[-200:]


@pytest.mark.requirement("F3")
def test_nothing_of_the_role_flushes_at_boot_or_stops_the_gate() -> None:
    """The boot unit has no ExecStop, and only the file for the site's stop holds a flush."""
    assert "ExecStop=" not in (ROLE / "templates/sightglass-nftables.service.j2").read_text()
    flushing = [
        path.name
        for path in (ROLE / "templates").iterdir()
        if any(line.startswith("flush ruleset") for line in path.read_text().splitlines())
    ]
    assert flushing == ["gate-only.nft.j2"]
