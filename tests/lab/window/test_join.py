"""A gateway that is logged out of the VPN comes back by a key for one node, of which nothing stays."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab import Lab, wait
from lab.control import FOR_EVER, Node, call
from tests.lab.window.site_under_test import Site

ROLE = ("--tags", "sightglass_tailscale")
WRONG = "hskey-auth-nobody-has-made-this-one-0123456789abcdef"
TAILSCALE = (
    "/usr/sbin/tailscaled /usr/bin/tailscale /etc/default/tailscaled /var/lib/tailscale"
    " /etc/systemd/system/tailscaled.service /usr/lib/systemd/system/tailscaled.service"
)
PLACES = ("/etc", "/root", "/home", "/run", "/tmp", "/var/lib", "/var/log", "/var/tmp")


def found(site: Site, text: str) -> list[str]:
    """Files of the gateway that have this text in them."""
    done = site.gateway.run(["grep", "-rlsF", "--binary-files=text", "-e", text, *PLACES], timeout=60, check=False)
    return done.stdout.splitlines()


def status(site: Site) -> dict[str, Any]:
    """Of the gateway's daemon."""
    answer: dict[str, Any] = json.loads(site.gateway.run(["tailscale", "status", "--json"]).stdout)
    return answer


@pytest.mark.requirement("N3")
@pytest.mark.timeout(400, func_only=True)  # a lab, and five runs of the role
def test_a_wrong_key_is_named_and_the_right_one_joins(fresh_lab: Callable[..., Lab], tmp_path: Path) -> None:
    """Without a key: what is wrong, at once. With a wrong one: which. The right one is used once and left nowhere."""
    lab = fresh_lab()
    site = Site(lab, lab.host("gw1"), lab.host("maintainer"))
    file = tmp_path / "key"
    # Not by the VPN: it is not in it.
    by = {"ansible_host": site.gateway.wan4}
    keyed = json.dumps(by | {"sightglass_tailscale_auth_key_file": str(file)})
    node = Node(lab, "gw1")
    # By the name that it had, a logged-out gateway is found again.
    site.gateway.run(["tailscale", "set", "--hostname=lane-north"])
    node.expire()
    wait.until(lambda: status(site)["BackendState"] == "NeedsLogin", 30, "its key has expired")

    keyless = site.play("site", json.dumps(by), more=ROLE)
    assert keyless.returncode == 2, keyless.stdout[-3000:]
    assert "gw1 is logged out of the VPN, or its key has expired" in " ".join(keyless.stdout.split())

    file.write_text(WRONG)
    wrong = site.play("site", keyed, more=ROLE)
    assert wrong.returncode == 2, wrong.stdout[-3000:]
    said = " ".join(wrong.stdout.split())
    assert "gw1 could not join the VPN at" in said
    assert "it is wrong, used or expired" in said
    assert WRONG not in wrong.stdout
    assert found(site, WRONG) == []

    asked = {"reusable": False, "ephemeral": False, "expiration": FOR_EVER, "aclTags": ["tag:gateway"]}
    right = str(call(lab, "POST", "/api/v1/preauthkey", asked)[0]["preAuthKey"]["key"])
    file.write_text(right)
    joined = site.play("site", keyed, more=ROLE)
    assert joined.returncode == 0, joined.stdout[-3000:]
    assert right not in joined.stdout
    assert found(site, right) == []
    site.gateway.run(["sh", "-c", 'printf %s "$1" >/tmp/control', "sh", right])
    assert found(site, right) == ["/tmp/control"], "the control: it would have been found"
    assert status(site)["BackendState"] == "Running"
    assert json.loads(site.gateway.run(["tailscale", "get", "--json"]).stdout)["hostname"] == "lane-north"

    again = site.play("site", keyed, more=ROLE)
    assert "changed=0 " in again.stdout.rpartition("gw1 ")[2], again.stdout[-3000:]

    # The one that a person would make for his own device; while headscale knows the machine, its tag stays.
    site.gateway.run(["tailscale", "logout"])
    node.delete()
    asked = {"user": call(lab, "GET", "/api/v1/user")[0]["users"][0]["id"], "expiration": FOR_EVER}
    file.write_text(str(call(lab, "POST", "/api/v1/preauthkey", asked)[0]["preAuthKey"]["key"]))
    untagged = site.play("site", keyed, more=ROLE)
    assert untagged.returncode == 2, untagged.stdout[-3000:]
    assert "gw1 is in the VPN as a person's device" in " ".join(untagged.stdout.split())


@pytest.mark.requirement("A2")
@pytest.mark.timeout(400, func_only=True)  # a lab, and three runs of the role
def test_a_gateway_without_the_programs_gets_them_and_joins(fresh_lab: Callable[..., Lab], tmp_path: Path) -> None:
    """Check mode says what would come; then the role's own unit runs, and the gateway joins."""
    lab = fresh_lab()
    site = Site(lab, lab.host("gw1"), lab.host("maintainer"))
    node = Node(lab, "gw1")
    site.gateway.run(["tailscale", "logout"])
    node.delete()
    site.gateway.run(["sh", "-c", f"systemctl disable --now tailscaled; rm -rf {TAILSCALE}; systemctl daemon-reload"])
    file = tmp_path / "key"
    asked = {"reusable": False, "ephemeral": False, "expiration": FOR_EVER, "aclTags": ["tag:gateway"]}
    file.write_text(str(call(lab, "POST", "/api/v1/preauthkey", asked)[0]["preAuthKey"]["key"]))
    keyed = json.dumps({"ansible_host": site.gateway.wan4, "sightglass_tailscale_auth_key_file": str(file)})

    checked = site.play("site", keyed, more=(*ROLE, "--check"))
    assert checked.returncode == 0, checked.stdout[-3000:]
    assert "would enable and start tailscaled.service, and join the VPN" in checked.stdout
    assert site.gateway.run(["sh", "-c", f"ls -d {TAILSCALE}"], check=False).stdout == ""

    joined = site.play("site", keyed, more=ROLE)
    assert joined.returncode == 0, joined.stdout[-3000:]
    assert status(site)["BackendState"] == "Running"
    assert status(site)["Self"]["Tags"] == ["tag:gateway"]
    assert site.gateway.run(["systemctl", "is-enabled", "tailscaled.service"]).stdout == "enabled\n"
    again = site.play("site", keyed, more=ROLE)
    assert "changed=0 " in again.stdout.rpartition("gw1 ")[2], again.stdout[-3000:]
