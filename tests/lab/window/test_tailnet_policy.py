"""The role that says who may watch, on a real headscale."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator

import pytest

from lab import wait
from lab.control import policy, write_policy
from tests.lab.window.site_under_test import Site

CAPABILITY = "sightglass.example/cap/view"
REMARK = "// The network team's. Ask before you change it.\n"


def apply(site: Site, *more: str, **given: object) -> subprocess.CompletedProcess[str]:
    """The policy's part of site.yml."""
    asked = json.dumps({f"sightglass_tailnet_policy_{name}": value for name, value in given.items()})
    return site.play("site", asked, more=("--tags", "sightglass_tailnet_policy", *more))


def whois(site: Site) -> str:
    """What the gateway's daemon says of the viewer; nothing when it is no peer any more."""
    return site.gateway.run(["tailscale", "whois", "--json", str(site.maintainer.vpn4)], check=False).stdout


@pytest.fixture
def owned(site: Site) -> Iterator[Site]:
    """The site; its policy is what it was, in the end."""
    before = policy(site.lab)
    yield site
    write_policy(site.lab, before)
    assert policy(site.lab) == before


@pytest.mark.requirement("A5")
def test_an_owners_remarks_stay_and_all_of_ours_can_be_taken_back(owned: Site) -> None:
    """headscale keeps the text, the role keeps the remarks; a diff is shown first, and a second run changes nothing."""
    remarked = REMARK + policy(owned.lab).replace('"grants": [', '"grants": [ // from the top', 1)
    write_policy(owned.lab, remarked)
    assert policy(owned.lab) == remarked, "headscale keeps every byte"
    named = {"maintainers": [{"src": ["maintainer@"], "sites": ["gw1"]}]}

    shown = apply(owned, "--check", "--diff", **named)
    assert shown.returncode == 0, shown.stdout[-3000:]
    assert re.search(r'^\+ +"gw1"', shown.stdout, re.MULTILINE), shown.stdout[-3000:]
    assert policy(owned.lab) == remarked

    done = apply(owned, **named)
    assert done.returncode == 0, done.stdout[-3000:]
    written = policy(owned.lab)
    assert written.startswith(REMARK)
    assert "[ // from the top" in written
    assert '"gw1"' in written
    assert "changed=0" in apply(owned, **named).stdout
    assert policy(owned.lab) == written
    wait.until(lambda: CAPABILITY in whois(owned), 20, "the viewer has the capability")

    gone = apply(owned, state="absent")
    assert gone.returncode == 0, gone.stdout[-3000:]
    assert CAPABILITY not in policy(owned.lab)
    assert policy(owned.lab).startswith(REMARK)
    wait.until(lambda: CAPABILITY not in whois(owned), 20, "the viewer has it no more")


@pytest.mark.requirement("A5")
def test_a_test_of_the_owner_that_fails_keeps_the_policy_as_it_was(owned: Site) -> None:
    """headscale runs the policy's own tests before anything is written."""
    before = policy(owned.lab)
    barred = {"src": "maintainer@", "proto": "tcp", "deny": ["tag:gateway:8554"]}
    refused = apply(owned, tests=[barred])
    assert refused.returncode == 2
    assert "headscale refuses POST policy/check" in " ".join(refused.stdout.split()), refused.stdout[-3000:]
    assert policy(owned.lab) == before
