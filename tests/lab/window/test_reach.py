"""Who reaches what, from every side, before, during and after a window; each negative beside its positive control."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from demo.matrix import OPENED, measure, planted
from lab import wait
from lab.media import TOOLS, watch_command
from tests.lab.window.site_under_test import Site

_LISTENS = ["ss", "-Hltn", "sport = :7998"]


@pytest.mark.requirement("A1")
@pytest.mark.requirement("A2")
def test_the_reachability_matrix(site: Site) -> None:
    """Maintainer, member, LAN and WAN, with and without a planted route: three open cells, and only in the window."""
    cells = measure(site.lab, site.gateway, "before")
    site.open()
    cells += measure(site.lab, site.gateway, "during")
    site.close()
    cells += measure(site.lab, site.gateway, "after")
    wrong = [str(cell) for cell in cells if not cell.good]
    assert not wrong, "\n".join(wrong)
    assert sum(cell.expected == "open" and not cell.control for cell in cells) == len(OPENED)


@pytest.mark.requirement("A1")
def test_an_unprivileged_user_of_the_gateway_gets_no_byte(site: Site) -> None:
    """uid nobody reaches neither the stream nor the hook, over any of the gateway's own addresses."""
    site.open()
    targets = [site.gateway.vpn4, site.gateway.wan4, site.gateway.lan4, "127.0.0.1", site.gateway.vpn6, "::1"]
    probes = [
        {"protocol": "tcp", "address": a, "port": port} for a in targets for port in (8554, 8550, 8889, 8189, 8800)
    ]
    probes += [{"protocol": "udp", "address": a, "port": 8189} for a in targets]
    control = [
        {"protocol": "tcp", "address": "127.0.0.1", "port": 1883},
        {"protocol": "tcp", "address": str(targets[0]), "port": 22},
    ]
    script = (TOOLS / "probe.py").read_text()
    answer = site.gateway.run(["python3", "-c", script, json.dumps([*probes, *control])], user="nobody", timeout=20)
    seen = json.loads(answer.stdout)
    assert seen["uid"] == 65534
    *results, broker, ssh = seen["probes"]
    assert broker["outcome"] == "connected", "the control: nobody may connect to the broker"
    assert ssh["outcome"] == "bytes", "the control: the probe reaches the VPN address itself"
    reached = [probe for probe in results if probe["outcome"] in ("bytes", "connected")]
    assert not reached
    assert any(number is not None for number in site.watch(frames=10)), "the control: the stream was there"


@pytest.mark.requirement("A1")
def test_a_bridge_planted_on_the_gateway_reaches_nothing(site: Site) -> None:
    """A root-run socat that carries a LAN port to the stream: whoever connects there gets no byte."""
    site.open()
    script = (TOOLS / "probe.py").read_text()
    for target, must_answer in ((f"TCP:{site.gateway.vpn4}:8554", False), ("TCP:127.0.0.1:8000", True)):
        listen = f"TCP-LISTEN:7998,bind={site.gateway.lan4},fork,reuseaddr"
        bridge = site.gateway.popen(["socat", listen, target])
        try:
            wait.until(lambda: site.gateway.run(_LISTENS).stdout.strip(), 5, "socat listens")
            probes = [{"protocol": "tcp", "address": str(site.gateway.lan4), "port": 7998}]
            answer = site.lab.host("lan").run([sys.executable, "-c", script, json.dumps(probes)])
            (probe,) = json.loads(answer.stdout)["probes"]
            assert (probe["outcome"] == "bytes") is must_answer, probe
        finally:
            bridge.kill()
            bridge.wait(5)


@pytest.mark.requirement("A1")
def test_planted_routes_bring_no_answer_on_the_wire(site: Site) -> None:
    """What the probes do not see is not sent either: no TCP or UDP packet leaves on WAN or LAN from a stream port."""
    site.open()
    expression = "(tcp or udp) and (src port 8554 or src port 8550 or src port 8889 or src port 8189 or src port 7999)"
    sniffers = [
        site.gateway.popen(
            # As root: a tcpdump that changes its user outlives the command that started it.
            ["tcpdump", "-Z", "root", "-lnn", "-Q", "out", "-i", interface, expression],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for interface in ("eth0", "lan0")
    ]
    try:
        for sniffer in sniffers:
            assert sniffer.stderr is not None
            assert any("listening on" in line for line in sniffer.stderr), "tcpdump listens"
        cells = measure(site.lab, site.gateway, "during")
        assert all(cell.good for cell in cells)
    finally:
        for sniffer in sniffers:
            sniffer.kill()
    lines = [line for sniffer in sniffers for line in sniffer.communicate(timeout=5)[0].splitlines()]
    control = [line for line in lines if ".7999 >" in line]
    assert control, "the control: the responder's answers are seen on the wire"
    assert [line for line in lines if ".7999 >" not in line] == []


@pytest.mark.requirement("A2")
def test_with_planted_routes_the_stream_itself_is_not_to_be_had(site: Site) -> None:
    """A player on WAN and LAN that knows the URL decodes nothing; the maintainer does, at the same time."""
    site.open()
    command = watch_command(site.url, "--frames", "1", "--seconds", "4")
    with planted(site.lab, site.gateway), site.watching():
        for name in ("wan", "lan", "member"):
            began = time.monotonic()
            done = site.lab.host(name).run(command, check=False, timeout=40)
            assert done.returncode == 1, (name, done.stdout)
            assert json.loads(done.stdout.splitlines()[-1])["frames"] == 0
            assert time.monotonic() - began < 30
