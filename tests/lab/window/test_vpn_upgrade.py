"""Another tailscaled: the gateway keeps it only when it brings the controller back."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import wait
from tests.lab.links import slow
from tests.lab.window.site_under_test import ROOT, Site

WORDS = ("--limit", "gw1", "--tags", "sightglass_tailscale")
ALLOWED = {"sightglass_tailscale_allow_restart": True}
ROUTES = "10.99.0.0/16"
BROKEN = "#!/bin/sh\necho 'a bad build' >&2\nexit 1\n"


def program(site: Site) -> str:
    """SHA-256 of what runs as the VPN's daemon."""
    look = 'sha256sum < "/proc/$(systemctl show -P MainPID tailscaled.service)/exe"'
    return site.gateway.run(["sh", "-c", look]).stdout.split()[0]


def left(site: Site) -> list[str]:
    """What an attempt has beside the programs and their settings while it lasts."""
    look = "ls -A /usr/sbin /usr/bin /etc/default /etc/systemd/system"
    names = site.gateway.run(["sh", "-c", look]).stdout.split()
    return [name for name in names if name.endswith((".before", ".wanted", ".part")) or "sightglass-tailscale" in name]


def routes(site: Site) -> str:
    """What the gateway offers the VPN."""
    return str(json.loads(site.gateway.run(["tailscale", "get", "--json"]).stdout)["advertise-routes"])


@pytest.fixture
def broken(tmp_path: Path) -> Iterator[Path]:
    """A daemon that ends at once."""
    file = tmp_path / "tailscaled"
    file.write_text(BROKEN)
    file.chmod(0o755)
    yield file


@pytest.mark.requirement("A2")
@pytest.mark.timeout(600, func_only=True)  # the gateway's way back, waited for, and two runs of the role
def test_a_daemon_that_does_not_start_is_taken_back(site: Site, broken: Path) -> None:
    """Refused without a word of ours; with it, tried, and undone by the gateway itself. A later run is as ever."""
    before = program(site)
    given = {
        "sightglass_tailscale_daemon_file": str(broken),
        "sightglass_tailscale_daemon_sha256": hashlib.sha256(BROKEN.encode()).hexdigest(),
        "sightglass_tailscale_rollback_s": 40,
    }
    refused = site.play("site", json.dumps(given), more=WORDS)
    assert refused.returncode == 2
    assert "set sightglass_tailscale_allow_restart to true" in " ".join(refused.stdout.split())
    assert program(site) == before

    # One of its tags alone: the way back comes along.
    tried = site.play(
        "site",
        json.dumps(given | ALLOWED),
        more=("--limit", "gw1", "--tags", "sightglass_tailscale_install"),
        timeout=400,
    )
    assert tried.returncode != 0, tried.stdout[-3000:]
    assert "did not bring gw1 back into the VPN" in " ".join(tried.stdout.split()), tried.stdout[-4000:]
    wait.until(lambda: program(site) == before, 60, "the daemon that was there before")
    journal = site.gateway.run(["journalctl", "-u", "tailscaled", "--since", "-5min", "--no-pager", "-o", "cat"]).stdout
    assert "a bad build" in journal, "the control: it was tried"

    site.wait_reachable()
    assert left(site) == []
    again = site.play("site", more=WORDS)
    assert again.returncode == 0, again.stdout[-3000:]
    assert "changed=0 " in again.stdout, again.stdout[-3000:]


@pytest.mark.requirement("A2")
@pytest.mark.timeout(400, func_only=True)  # 30 MB over a slow link, two runs of the role
def test_a_daemon_that_comes_slowly_is_not_taken_back(site: Site, tmp_path: Path) -> None:
    """It comes beside the one in use, and the time for the way back begins with the restart."""
    before = program(site)
    file = tmp_path / "tailscaled"
    # The same program, a byte longer.
    file.write_bytes(Path(site.lab.data["binaries"]["tailscaled"]).read_bytes() + b"\0")
    wanted = hashlib.sha256(file.read_bytes()).hexdigest()
    given = {
        "sightglass_tailscale_daemon_file": str(file),
        "sightglass_tailscale_daemon_sha256": wanted,
        "sightglass_tailscale_rollback_s": 30,
    }
    with slow(site.lab, "7mbit"):
        began = time.monotonic()
        done = site.play("site", json.dumps(given | ALLOWED), more=WORDS, timeout=300)
        took = time.monotonic() - began
    assert done.returncode == 0, done.stdout[-3000:]
    assert took > 30, "the control: it took longer than the way back waits"
    assert program(site) == wanted != before
    assert left(site) == []
    back = site.play("site", json.dumps(ALLOWED), more=WORDS, timeout=200)
    assert back.returncode == 0, back.stdout[-3000:]
    assert program(site) == before
    site.wait_reachable()


@pytest.fixture
def routed(site: Site) -> Iterator[Site]:
    """A gateway by which the site's own network is reached."""
    site.gateway.run(["tailscale", "set", f"--advertise-routes={ROUTES}"])
    try:
        yield site
    finally:
        site.gateway.run(["tailscale", "set", "--advertise-routes="])
        site.wait_guards()


@pytest.mark.requirement("A3")
def test_a_preference_that_may_cut_is_named_and_asked_for(routed: Site) -> None:
    """Refused with what is there; shown by check mode with a leave; then set and confirmed on another connection."""
    # As a text, which -e makes of it, and which is a yes to whoever asks whether it is empty.
    refused = routed.play("site", json.dumps({"sightglass_tailscale_allow_restart": "false"}), more=WORDS)
    said = " ".join(refused.stdout.split())
    assert refused.returncode == 2
    assert f'advertise-routes from "{ROUTES}" to ""' in said
    assert "set sightglass_tailscale_allow_restart to true" in said
    assert routes(routed) == ROUTES

    shown = routed.play("site", json.dumps(ALLOWED), more=(*WORDS, "--check"))
    assert shown.returncode == 0, shown.stdout[-3000:]
    assert f'would change advertise-routes from "{ROUTES}" to ""' in shown.stdout
    assert routes(routed) == ROUTES

    done = routed.play("site", json.dumps(ALLOWED), more=WORDS)
    assert done.returncode == 0, done.stdout[-3000:]
    assert routes(routed) == ""
    assert left(routed) == [], "nothing goes back any more"
    again = routed.play("site", more=WORDS)
    assert "changed=0 " in again.stdout, again.stdout[-3000:]


@pytest.mark.requirement("A3")
@pytest.mark.timeout(400, func_only=True)  # two runs of the role, a boot, and the way back
def test_a_preference_goes_back_without_its_controller(routed: Site) -> None:
    """Whoever set it does not come back: what the site had is there again, by the gateway alone, after a power cut."""
    asked = json.dumps(ALLOWED | {"sightglass_tailscale_rollback_s": 60})
    run = routed.lab.host("ops").popen(routed.playing("site", asked, more=WORDS), cwd=str(ROOT))
    try:
        wait.until(lambda: routes(routed) == "", 100, "it is set")
    finally:
        run.kill()
        run.wait(5)
    # It would find all in order, say so, and be undone.
    soon = routed.play("site", more=WORDS)
    assert soon.returncode == 2, soon.stdout[-3000:]
    assert "gw1 is going back to the firewall or the VPN that it had" in " ".join(soon.stdout.split())
    assert routes(routed) == "", "the control: it has not gone back yet"
    routed.lab.power_cut("gw1")
    wait.until(lambda: routes(routed) == ROUTES, 120, "the gateway goes back by itself")
    wait.until(lambda: left(routed) == [], 10, "nothing of the attempt is left")


@pytest.fixture
def packaged(site: Site) -> Iterator[Site]:
    """The programs as a package has brought them."""
    make = (
        "set -e; mkdir -p /root/package/DEBIAN /root/package/usr/sbin /root/kept;"
        " cp -p /usr/sbin/tailscaled /root/kept; cp -p /usr/sbin/tailscaled /root/package/usr/sbin;"
        " printf 'Package: tailscale\nVersion: 1\nArchitecture: all\nMaintainer: a test\nDescription: a test\n'"
        " >/root/package/DEBIAN/control; dpkg-deb --build -Znone /root/package /root/package.deb"
        "; dpkg -i /root/package.deb"
    )
    site.gateway.run(["sh", "-c", make], timeout=60)
    try:
        yield site
    finally:
        clean = (
            "echo tailscale install | dpkg --set-selections; dpkg --purge tailscale;"
            " cp -p /root/kept/tailscaled /usr/sbin/tailscaled; rm -rf /root/package /root/package.deb /root/kept"
        )
        site.gateway.run(["sh", "-c", clean], timeout=60)


@pytest.mark.requirement("A2")
def test_the_package_of_the_programs_is_held(packaged: Site) -> None:
    """Its upgrade would start another daemon with no way back. That it has replaced the file ends nothing."""
    held = packaged.gateway.run(["apt-mark", "showhold"]).stdout
    assert held == "", "the control: it is not held before"
    done = packaged.play("site", more=WORDS)
    assert done.returncode == 0, done.stdout[-3000:]
    assert packaged.gateway.run(["apt-mark", "showhold"]).stdout == "tailscale\n"
    again = packaged.play("site", more=WORDS)
    assert "changed=0 " in again.stdout, again.stdout[-3000:]
