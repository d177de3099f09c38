"""What several pieces must repeat, as other processes or in other languages, reads the same in all of them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel

from demo import left, matrix
from sightglass.api.shapes import OpenBody
from sightglass.causes import DEPARTURES
from sightglass.config import Config, Ports
from sightglass.console import news
from sightglass.feed import job
from tests.compliance.site import site_of
from tests.unit.shutter_parts import rendered, settings

ROOT = Path(__file__).parents[2]


@pytest.mark.requirement("N1")
def test_a_window_has_as_many_cameras_everywhere() -> None:
    """Four in the API, its document, the playbook, the feed and the console: what one lets in the next one takes."""
    most = job.MAX_CAMERAS
    assert _most(OpenBody, "cameras") == _most(news.Job, "cameras") == most
    document = json.loads((ROOT / "docs/openapi.json").read_text())
    assert document["components"]["schemas"]["OpenBody"]["properties"]["cameras"]["maxItems"] == most
    asked = document["paths"]["/v1/guards"]["get"]["parameters"]
    assert [one["schema"]["maxItems"] for one in asked if one["name"] == "camera"] == [most]
    playbook = (ROOT / "ansible/playbooks/window_open.yml").read_text()
    assert re.findall(r"__cameras \| length <= (\d+)|must be 1 to (\d+) different names", playbook) == [
        (str(most), ""),
        ("", str(most)),
    ]
    assert most <= _most(Config, "cameras"), "of those that a gateway has"


@pytest.mark.requirement("A5")
def test_the_console_takes_every_reason_for_a_cut() -> None:
    """One that it does not know would be a broken channel, and end the window for all."""
    assert set(get_args(news.Gone)) == set(DEPARTURES)


@pytest.mark.requirement("A2")
def test_one_variable_names_the_vpns_interface() -> None:
    """In the kernel's table, in the units that look at it or are confined to it, and in the agent's configuration."""
    assert re.findall(r"sightglass_vif = (.*)", rendered(sightglass_nftables_interface="vpn7")) == ['"vpn7"']
    for role, unit, words in (
        ("sightglass_agent", "sightglass-shutter", r"--interface (\S+)"),
        ("sightglass_agent", "sightglass-console", r"RestrictNetworkInterfaces=lo (.*)"),
        ("sightglass_mediamtx", "sightglass-mediamtx", r"RestrictNetworkInterfaces=lo (.*)"),
    ):
        text = unit_of(role, unit, sightglass_nftables_interface="vpn7")
        assert re.findall(words, text) == ["vpn7"], unit
    config = yaml.safe_load((ROOT / "roles/sightglass_agent/vars/main.yml").read_text())["__sightglass_agent_config"]
    assert config["tailscale"]["interface"] == "{{ sightglass_nftables_interface }}"
    assert [file for file in (ROOT / "roles").glob("*/[tv]*/*") if "tailscale0" in file.read_text()] == []


@pytest.mark.requirement("A2")
def test_the_ports_are_the_agents_everywhere() -> None:
    """The agent's are those of its configuration without any word about ports; a window with others would not open, or
    its kernel rules would guard the wrong ones."""
    ports = Ports()
    leased, server = {ports.rtsp, ports.console, ports.media}, {ports.rtsp, ports.webrtc, ports.media}
    local = {ports.rtsp, ports.webrtc}
    assert set(ports.reserved()) == leased | server

    gate = settings(ROOT / "roles/sightglass_nftables")
    assert set(gate["__sightglass_nftables_tcp_ports"]) == leased | server
    assert gate["__sightglass_nftables_udp_ports"] == [ports.media]
    named = [gate[f"__sightglass_nftables_{name}_port"] for name in ("rtsp", "offers", "hook")]
    assert named == [ports.rtsp, ports.webrtc, ports.hook]

    shutter = unit_of("sightglass_agent", "sightglass-shutter")
    told = {name: numbers(words) for name, words in re.findall(r"--(tcp|udp|local)((?: \d+)+)", shutter)}
    assert told == {"tcp": leased, "udp": {ports.media}, "local": local}
    assert bound("sightglass_agent", "sightglass-console") == {("tcp", ports.console)}
    streams = {*(("tcp", port) for port in server), ("udp", ports.media)}
    assert bound("sightglass_mediamtx", "sightglass-mediamtx") == streams

    reached = {*(f"tcp:{port}" for port in leased), f"udp:{ports.media}"}
    assert set(settings(ROOT / "roles/sightglass_tailnet_policy")["sightglass_tailnet_policy_ports"]) == reached

    checked = site_of({"sightglass_compliance_listeners": []}).window()
    assert {(seen.protocol, seen.port) for seen in checked} == {*streams, ("tcp", ports.console), ("tcp", ports.hook)}
    assert set(left.PORTS) == {*ports.reserved(), ports.hook}
    assert (set(matrix.TCP_PORTS), set(matrix.OPENED)) == (leased | server, leased)
    assert (ports.media,) == matrix.UDP_PORTS
    readme = (ROOT / "README.md").read_text()
    assert (f"http://GATEWAY:{ports.console}/" in readme, f"rtsp://GATEWAY:{ports.rtsp}/" in readme) == (True, True)


def numbers(text: str) -> set[int]:
    """All whole numbers of a text."""
    return set(map(int, re.findall(r"\d+", text)))


def bound(role: str, name: str) -> set[tuple[str, int]]:
    """What a unit may bind."""
    found = re.findall(r"^SocketBindAllow=ipv4:(tcp|udp):(\d+)$", unit_of(role, name), re.MULTILINE)
    return {(protocol, int(port)) for protocol, port in found}


def unit_of(role: str, name: str, **changed: Any) -> str:
    """A service of a role, with what that role and the first one have by themselves."""
    place = ROOT / "roles" / role
    return rendered(place / f"templates/{name}.service.j2", **settings(place), **changed)


def _most(model: type[BaseModel], field: str) -> int:
    limits = [each.max_length for each in model.model_fields[field].metadata if hasattr(each, "max_length")]
    return int(limits[0])
