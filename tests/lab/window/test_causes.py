"""Each end has its own name, the same in the agent's answers and in the record."""

from __future__ import annotations

import pytest

from lab import wait
from lab.control import FOR_EVER, Node
from lab.media import watch_command
from tests.lab.configured import configured
from tests.lab.window.site_under_test import ROOT, Site

SWITCH = "/etc/sightglass/off"
_NO_CONTROL = """
table inet no_control {
  chain out { type filter hook output priority 0; tcp dport 8080 reject with tcp reset; }
}
"""
_STARVE = "for _ in $(seq 60); do kill -STOP $1; sleep 0.9; kill -CONT $1; sleep 0.1; done"


def ended(site: Site, window: str, seconds: float) -> str:
    """Wait until nothing of the window is left; its cause, which record and agent must agree on."""
    wait.until(lambda: not site.left(), seconds, "closed")
    wait.until(lambda: site.status()["window"] is None, 5, "the agent says closed")
    cause = site.cause(window)
    assert site.status()["last"]["cause"] == cause
    return cause


@pytest.mark.requirement("N2")
def test_a_vision_that_falls_behind_ends_the_window(site: Site) -> None:
    """Held up for nine tenths of the time: `load`, with the figure; when it runs again the next window opens."""
    window = site.open()
    with site.watching():
        vision = site.gateway.run(["systemctl", "show", "-P", "MainPID", "parking"]).stdout.strip()
        starving = site.gateway.popen(["sh", "-c", _STARVE, "sh", vision])
        try:
            assert ended(site, window["id"], 30) == "load"
            assert "frame rate at lane1" in site.status()["last"]["why"]
            refused = site.ask_open()
            assert (refused.returncode, "refused (guard-" in refused.stderr) == (3, True)
        finally:
            starving.kill()
            starving.wait(5)
            site.gateway.run(["kill", "-CONT", vision])
    site.wait_guards()
    site.open()


@pytest.mark.requirement("N2")
def test_a_broker_that_answers_no_more_ends_the_window(site: Site) -> None:
    """It hangs, its connection stays: after three seconds of that the window is closed by name."""
    window = site.open()
    site.gateway.run(["systemctl", "kill", "-s", "STOP", "mosquitto"])
    try:
        assert ended(site, window["id"], 20) == "load"
        assert "round trip" in site.status()["last"]["why"]
    finally:
        site.gateway.run(["systemctl", "kill", "-s", "CONT", "mosquitto"])
    site.wait_guards()


@pytest.mark.requirement("A5")
def test_a_silent_control_plane_ends_the_window(site: Site) -> None:
    """Nobody would learn who may not watch any more. The limit is 30 s here, and 10 min for a site."""
    with configured(site, lambda config: config["limits"].update(control_silent_s=30)):
        window = site.open()
        # Refused, not dropped: tailscaled believes for two minutes in a connection that says nothing.
        site.gateway.run(["nft", "-f", "-"], input=_NO_CONTROL)
        site.gateway.run(["ss", "-K", "dport", "=", "8080"])
        try:
            assert ended(site, window["id"], 120) == "control-silent"
            refused = site.ask_open()
            assert (refused.returncode, "refused (guard-contact)" in refused.stderr) == (3, True)
        finally:
            site.gateway.run(["nft", "delete", "table", "inet", "no_control"])
        site.wait_guards()
        assert site.open()["state"] == "open", "the control: heard again, the same gateway opens"


@pytest.mark.requirement("N3")
@pytest.mark.requirement("O5")
@pytest.mark.parametrize(
    "act", [["touch", SWITCH], ["systemctl", "start", "sightglass-off"]], ids=["the file", "the unit"]
)
def test_the_switch_at_the_gateway(site: Site, act: list[str]) -> None:
    """Ends what is open and refuses what is asked for, by its own name; outlives role and reboot until it is undone."""
    window = site.open()
    try:
        with site.watching() as player:
            site.gateway.run(act)
            # The unit stops the shutter, and systemd stops what is ordered after it first: the page before all others.
            assert ended(site, window["id"], 5) in {"switch", "shutter-lost", "console-lost"}
            player.wait(5)
        assert site.status()["state"] == "disabled"
        refused = site.ask_open()
        assert (refused.returncode, "the switch at the gateway is set" in refused.stderr) == (3, True)
        if act[0] == "systemctl":
            site.lab.reboot("gw1")
        else:
            play = ["ansible-playbook", "ansible/playbooks/site.yml", "--tags", "sightglass_agent"]
            site.lab.host("ops").run(play, timeout=300, cwd=str(ROOT))
        wait.until(lambda: site.status()["state"] == "disabled", 20, "still off")
        assert site.ask_open().returncode == 3
    finally:
        site.gateway.run(["rm", "-f", SWITCH])
    site.wait_guards()
    site.open()


@pytest.mark.requirement("N3")
def test_the_switch_works_without_an_agent(site: Site) -> None:
    """The unit ends the shutter itself: a hung agent shows nothing more."""
    site.open()
    agent = site.pid("agent")
    try:
        with site.watching() as player:
            site.gateway.run(["kill", "-STOP", str(agent)])
            site.gateway.run(["systemctl", "start", "sightglass-off"])
            player.wait(5)
    finally:
        site.gateway.run(["rm", "-f", SWITCH])
        site.gateway.run(["kill", "-CONT", str(agent)], check=False)


@pytest.mark.requirement("U2")
@pytest.mark.requirement("U5")
def test_the_fleets_off_has_a_name_of_its_own(site: Site) -> None:
    """In the record of the window and of the gateway."""
    window = site.open()
    done = site.sightglass("disable", "--fleet", "--reason", "works at all sites")
    assert done.returncode == 0, done.stderr
    assert ended(site, window["id"], 5) == "fleet-off"
    disabled = [event for event in site.events() if event["event"] == "disabled"][-1]
    assert (disabled["data"]["cause"], disabled["who"]["reason"]) == ("fleet-off", "works at all sites")


@pytest.mark.requirement("A5")
@pytest.mark.requirement("P2")
def test_a_viewer_whose_key_expires_is_cut(site: Site) -> None:
    """tailscaled keeps an expired node's capabilities: the rule is ours. Valid again, the window shows its picture."""
    node = Node(site.lab, "maintainer")
    window = site.open()
    with site.watching(seconds=40) as player:
        node.expire()
        try:
            player.wait(15)
            done = site.maintainer.run(watch_command(site.url, "--frames", "1", "--seconds", "3"), check=False)
            assert done.returncode == 1
            assert site.status()["state"] == "open"
        finally:
            node.expire(FOR_EVER)
    wait.until(lambda: site.status()["window"]["viewers"], 20, "the maintainer is a viewer again")
    assert len(site.watch(frames=3)) == 3
    left = [event["data"] for event in site.events(window["id"]) if event["event"] == "left"]
    assert (left[0]["cut"], left[0]["why"]) == (True, "node-expired")


@pytest.mark.requirement("U5")
@pytest.mark.requirement("P2")
def test_no_room_for_a_record_ends_the_window(site: Site) -> None:
    """The disk fills while it is open: at the next event, here that the viewer left, the window is over."""
    state = "/var/lib/sightglass"
    site.gateway.run(["systemctl", "stop", "sightglass-agent"])
    site.gateway.run(["sh", "-c", f"cp -a {state} /root/kept && mount -t tmpfs -o size=3m,mode=0700 none {state}"])
    try:
        site.gateway.run(["sh", "-c", f"cp -a /root/kept/. {state}/ && chown -R sightglass: {state}"])
        site.gateway.run(["systemctl", "start", "sightglass-agent"])
        site.wait_guards()
        window = site.open()["id"]
        assert len(site.watch(frames=3)) == 3, "the control: with room there is a picture"
        site.gateway.run(["sh", "-c", f"cat /dev/zero > {state}/full"], check=False)
        wait.until(lambda: not site.left(), 10, "closed")
        assert site.status()["last"]["cause"] == "no-room"
        assert (refused := site.ask_open()).returncode == 3
        assert "no room" in refused.stderr
        assert [event["event"] for event in site.events(window)][-1] == "joined", "the control: there was no room"
        site.gateway.run(["rm", f"{state}/full"])
        wait.until(lambda: site.events(window)[-1]["event"] == "closed", 10, "the record of its end")
        assert [event["event"] for event in site.events(window)][-3:] == ["left", "cause", "closed"]
        assert site.cause(window) == "no-room"
        site.verify()
        site.wait_guards()
        assert site.open()["state"] == "open", "with room there are windows again"
        site.close()
    finally:
        site.gateway.run(["systemctl", "stop", "sightglass-agent"])
        site.gateway.run(["sh", "-c", f"umount {state}; rm -rf /root/kept; systemctl start sightglass-agent"])
        site.wait_guards()
