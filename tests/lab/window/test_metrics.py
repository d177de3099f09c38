"""The figures of a real gateway, as the file that node_exporter reads, through the role that writes it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from lab import wait
from tests.lab.window.site_under_test import ROOT, Site

pytestmark = pytest.mark.requirement("U2")
FOLDER = "/var/lib/prometheus/node-exporter"
FILE = f"{FOLDER}/sightglass.prom"
READER = "daemon"


def role(site: Site, *asked: str) -> subprocess.CompletedProcess[str]:
    """site.yml for this one role."""
    words = ["ansible-playbook", "ansible/playbooks/site.yml", "--tags", "sightglass_metrics", "--limit", "gw1", *asked]
    return site.lab.host("ops").run(words, timeout=120, check=False, cwd=str(ROOT))


@pytest.fixture
def written(site: Site) -> Iterator[Site]:
    """A gateway whose figures are written every 15 s, as soon as they are asked for."""
    site.gateway.run(["mkdir", "-p", FOLDER])
    site.gateway.run(["chown", READER, FOLDER])
    asked = ("-e", f"sightglass_metrics_file={FILE}", "-e", '{"sightglass_metrics_every_s": 15}')
    done = role(site, *asked)
    assert done.returncode == 0, done.stdout[-1500:]
    try:
        again = role(site, *asked)
        assert "changed=0 " in again.stdout.rpartition("PLAY RECAP")[2], again.stdout
        yield site
    finally:
        site.gateway.run(["touch", f"{FOLDER}/other.prom"])
        assert role(site).returncode == 0
        assert site.gateway.run(["ls", FOLDER]).stdout == "other.prom\n"
        site.gateway.run(["rm", "-r", "/var/lib/prometheus"])
    assert site.gateway.run(["systemctl", "cat", "sightglass-metrics.timer"], check=False).returncode != 0
    assert site.gateway.run(["test", "-e", "/etc/sightglass/pins.d/metrics.json"], check=False).returncode != 0


def figures(site: Site) -> dict[str, float]:
    """The figures in the file, by name and last label, as an unprivileged reader gets them."""
    said = site.gateway.run(["cat", FILE], user=READER).stdout
    return {
        " ".join([sample.name, *list(sample.labels.values())[-1:]]): sample.value
        for family in text_string_to_metric_families(said)
        for sample in family.samples
    }


def renewed(site: Site) -> dict[str, float]:
    """The same, written anew now."""
    site.gateway.run(["systemctl", "start", "sightglass-metrics.service"])
    return figures(site)


def test_prometheus_sees_a_window_open_watched_and_closed(written: Site) -> None:
    """With nobody's name in it, and without an agent that was stopped on purpose being started for it."""
    site = written
    wait.until(
        lambda: site.gateway.run(["test", "-e", FILE], check=False).returncode == 0, 30, "the timer's first file"
    )
    before = renewed(site)
    assert (before["sightglass_up"], before["sightglass_state closed"], before["sightglass_vpn_up"]) == (1, 1, 1)
    assert before["sightglass_broker_connected"] == 1
    assert 0 <= before["sightglass_lane_heartbeat_age_seconds lane1"] < 5
    assert "sightglass_window_deadline_timestamp_seconds" not in before
    window = site.open()
    with site.watching():
        wait.until(lambda: renewed(site)["sightglass_window_watching"] == 1, 20, "a viewer in the figures")
        seen = renewed(site)
        assert (seen["sightglass_state open"], seen["sightglass_window_cameras debug"]) == (1, 1)
        said = site.gateway.run(["cat", FILE]).stdout
        status = site.status()
        names = [status["window"]["viewers"][0]["user"], status["window"]["opened_by"]["user"], window["urls"]["cam1"]]
        assert not [name for name in names if name in said]
    site.close()
    after = renewed(site)
    assert "sightglass_window_watching" not in after
    counted = ("sightglass_windows_opened_total", "sightglass_windows_closed_total closed", "sightglass_receipts")
    assert [after[name] - before[name] for name in counted[:2]] == [1, 1]
    assert after["sightglass_receipts"] == site.status()["chain"]["n"]
    _stopped(site)


def _stopped(site: Site) -> None:
    site.gateway.run(["systemctl", "stop", "sightglass-agent.service"])
    try:
        written = site.gateway.run(["stat", "-c", "%i", FILE]).stdout
        site.gateway.run(["systemctl", "start", "sightglass-metrics.service"])
        assert site.gateway.run(["systemctl", "is-active", "sightglass-agent.service"], check=False).returncode != 0
        assert site.gateway.run(["stat", "-c", "%i", FILE]).stdout == written
    finally:
        site.gateway.run(["systemctl", "start", "sightglass-agent.service"])
    wait.until(lambda: renewed(site)["sightglass_up"] == 1, 20, "the control: with an agent it is written anew")


@pytest.mark.requirement("U3")
@pytest.mark.requirement("F3")
def test_compliance_and_pins_know_what_writes_the_figures(written: Site, tmp_path: Path) -> None:
    """The pair passes, and a window opens beside it; of the timer alone both say that the service is gone."""
    site, service = written, "/etc/systemd/system/sightglass-metrics.service"
    asked = ("site=gw1", f"report={tmp_path / 'report'}")
    done = site.play("compliance", *asked)
    assert done.returncode == 0, done.stdout
    site.open()
    site.close()
    site.wait_closed()
    site.gateway.run(["sh", "-ec", f"mv {service} /root/kept.service; systemctl daemon-reload"])
    try:
        done = site.play("compliance", *asked)
        refused = site.ask_open()
    finally:
        site.gateway.run(["sh", "-ec", f"mv /root/kept.service {service}; systemctl daemon-reload"])
    assert done.returncode == 2
    assert "gw1: enabled: failed: sightglass-metrics.service is missing, must be static" in done.stdout
    assert refused.returncode == 3
    assert service in refused.stderr


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("sightglass_metrics_file=figures.prom", "must be an absolute path"),
        (f"sightglass_metrics_file={FOLDER}/gw1.prom", "that ends in /sightglass.prom"),
        ("sightglass_metrics_file=/nowhere/sightglass.prom", "/nowhere is none on this gateway"),
        ('{"sightglass_metrics_every_s": 301}', "must be from 15 to 300, not 301"),
        ('{"sightglass_metrics_every_s": 5}', "must be from 15 to 300, not 5"),
    ],
)
def test_what_the_role_cannot_do_is_one_sentence(site: Site, given: str, said: str) -> None:
    """And nothing is changed."""
    done = role(site, "-e", given)
    assert done.returncode != 0
    assert said in " ".join(done.stdout.split())
    assert "changed=0 " in done.stdout.rpartition("PLAY RECAP")[2]
