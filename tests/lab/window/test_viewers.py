"""Who may watch, asked again while they watch: a permission that ends takes the picture with it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator

import pytest

from lab import wait
from lab.host import Host
from lab.media import browser, next_event, watch_command
from tests.lab.attack.policy import second_viewer, wait_viewers
from tests.lab.window.site_under_test import ROOT, Site

POLICY = ["ansible-playbook", "ansible/playbooks/site.yml", "--tags", "sightglass_tailnet_policy"]


def policy(site: Site, maintainers: list[dict[str, list[str]]] | None = None) -> None:
    """Write the tailnet's policy by the role; None: as the inventory says."""
    extra = [] if maintainers is None else ["-e", json.dumps({"sightglass_tailnet_policy_maintainers": maintainers})]
    done = site.lab.host("ops").run([*POLICY, *extra], timeout=120, check=False, cwd=str(ROOT))
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]


@contextlib.contextmanager
def without_capability(site: Site) -> Iterator[None]:
    """Nobody holds the capability while the block runs; the maintainer stays a member of the VPN."""
    policy(site, [])
    try:
        yield
    finally:
        policy(site)
        wait.until(lambda: watching(site) is not None, 20, "the maintainer is a viewer again")


def watching(site: Site) -> bool | None:
    """Whether the maintainer watches; None when the maintainer is no viewer, or no window is open."""
    window = site.status()["window"]
    return next((v["watching"] for v in window["viewers"] if v["user"] == "maintainer"), None) if window else None


@pytest.mark.requirement("A5")
@pytest.mark.requirement("P2")
def test_who_loses_the_capability_loses_the_picture(site: Site) -> None:
    """Player and page both, while they watch; the window itself goes on, and the receipt names the person."""
    window = site.open()
    with site.watching(seconds=90) as player, browser(site.maintainer, site.page, "--stay", "60") as page:
        next_event(page, "seen")
        assert watching(site) is True, "the control: the maintainer watches"
        with without_capability(site):
            player.wait(10)
            ended = next_event(page, "state")
            while ended["state"] != "ended":
                ended = next_event(page, "state")
            assert "may not watch" in ended["text"]
            assert page.wait(10) == 0
            assert site.status()["state"] == "open"
            done = site.maintainer.run(watch_command(site.url, "--frames", "1", "--seconds", "3"), check=False)
            assert done.returncode == 1
    assert len(site.watch(frames=3)) == 3, "the control: with the capability back, the same window shows its picture"
    events = [event for event in site.events(window["id"]) if event["event"] in ("joined", "left")]
    assert {event["event"] for event in events} == {"joined", "left"}
    assert {event["who"]["user"] for event in events} == {"maintainer"}


def received(host: Host) -> int:
    """Bytes that have come to a host over the VPN, by its own kernel's count."""
    shown = json.loads(host.run(["ip", "-s", "-j", "link", "show", "dev", "tailscale0"]).stdout)
    return int(shown[0]["stats64"]["rx"]["bytes"])


@pytest.mark.requirement("P2")
@pytest.mark.requirement("U5")
def test_each_viewer_has_a_visit_of_their_own_with_what_they_were_sent(site: Site) -> None:
    """Two who watch at once, one for longer: the record says so of each, as their own devices counted it."""
    member = site.lab.host("member")
    with second_viewer(site):
        window = site.open()
        wait_viewers(site, "maintainer", "member")
        before = {host.name: received(host) for host in (site.maintainer, member)}
        with site.watching(seconds=90):
            command = watch_command(site.url, "--frames", "10", "--retry", "5")
            done = member.run(command, timeout=40, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
            site.wait_frames(30)
            # On the record it has left when it has been away for two seconds and its bytes have been counted since.
            wait.until(lambda: "left" in [event["event"] for event in site.events(window["id"])], 20, "one has left")
            site.close()
        got = {host.name: received(host) - before[host.name] for host in (site.maintainer, member)}
    visits = {event["who"]["user"]: event for event in site.events(window["id"]) if event["event"] == "left"}
    assert set(visits) == {"maintainer", "member"}
    for name, visit in visits.items():
        # Beside the stream a device has heard its VPN's own small talk.
        assert 0.8 * got[name] < visit["data"]["bytes"] <= got[name], (name, got[name], visit["data"])
    assert visits["maintainer"]["data"]["bytes"] > 2 * visits["member"]["data"]["bytes"]
    assert visits["maintainer"]["data"]["cut"] is True
    assert "cut_ms" in visits["maintainer"]["data"]
    assert not visits["member"]["data"].get("cut"), "it went by itself"
    joined = [event["who"]["user"] for event in site.events(window["id"]) if event["event"] == "joined"]
    assert sorted(joined) == ["maintainer", "member"]


@pytest.mark.requirement("A5")
def test_a_window_for_named_viewers_is_for_them_alone(site: Site) -> None:
    """An entitled maintainer who was not named gets nothing; named, the same player decodes."""
    site.open(viewer="somebody-else")
    assert site.status()["window"]["viewers"] == []
    done = site.maintainer.run(watch_command(site.url, "--frames", "1", "--seconds", "3"), check=False)
    assert done.returncode == 1
    site.close()
    site.open(viewer="maintainer")
    assert len(site.watch(frames=3)) == 3


@pytest.mark.requirement("A3")
@pytest.mark.requirement("F3")
def test_a_gateway_that_begins_to_serve_closes(site: Site) -> None:
    """`tailscale serve` in a window: closed by the vpn guard, and none opens until it is reset."""
    window = site.open()
    site.gateway.run(["tailscale", "serve", "--bg", "--tcp", "9999", "tcp://127.0.0.1:8000"])
    try:
        wait.until(lambda: not site.left(), 10, "closed")
        assert site.cause(window["id"]) == "not-vpn-only"
        refused = site.ask_open()
        assert (refused.returncode, "refused (guard-vpn)" in refused.stderr) == (3, True)
    finally:
        site.gateway.run(["tailscale", "serve", "reset"])
    site.wait_guards()
    site.open()


@pytest.mark.requirement("A1")
def test_a_windows_processes_see_no_daemon_of_the_host(site: Site) -> None:
    """tailscaled's socket is open to every user and dials VPN peers as root: none of ours has it in its world."""
    site.open()
    for unit in ("feed", "mediamtx", "console", "shutter"):
        root = f"/proc/{site.pid(unit)}/root"
        sockets = site.gateway.run(["find", f"{root}/run/", "-type", "s"]).stdout.replace(root, "").split()
        own = {"/run/systemd/notify", f"/run/sightglass-{unit}.sock"}
        assert set(sockets) <= own, unit
    assert "/run/tailscale/tailscaled.sock" in site.gateway.run(["find", "/run/tailscale/", "-type", "s"]).stdout
