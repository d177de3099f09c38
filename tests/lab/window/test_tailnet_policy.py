"""The role that says who may watch, on a real headscale."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from lab import wait
from lab.control import change_policy, policy, write_policy
from lab.media import TOOLS, watch_command
from tests.lab.window.site_under_test import ROOT, Site

CAPABILITY = "sightglass.example/cap/view"
APPROVE = "sightglass.example/cap/approve"
REMARK = "// The network team's. Ask before you change it.\n"


def apply(site: Site, *more: str, **given: object) -> subprocess.CompletedProcess[str]:
    """The policy's part of site.yml."""
    asked = json.dumps({f"sightglass_tailnet_policy_{name}": value for name, value in given.items()})
    return site.play("site", asked, more=("--tags", "sightglass_tailnet_policy", *more))


def whois(site: Site) -> str:
    """What the gateway's daemon says of the viewer; nothing when it is no peer any more."""
    return site.gateway.run(["tailscale", "whois", "--json", str(site.maintainer.vpn4)], check=False).stdout


def reached(site: Site) -> set[int]:
    """The ports of a window at which the viewer's host gets an answer."""
    script = (TOOLS / "probe.py").read_text()
    probes = [
        {"protocol": "tcp", "address": str(site.gateway.vpn4), "port": port} for port in (8550, 8554, 8889, 8189, 22)
    ]
    answer = site.maintainer.run([sys.executable, "-c", script, json.dumps(probes)], timeout=30)
    return {
        probe["port"] for probe in json.loads(answer.stdout)["probes"] if probe["outcome"] in ("bytes", "connected")
    }


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
def test_who_may_approve_and_no_more_sees_nothing(owned: Site) -> None:
    """headscale takes a grant without a port, the gateway hears of the capability, and a window is open: no port
    answers. The same person with view beside it watches (the control)."""
    entry: dict[str, object] = {"src": ["maintainer@"], "sites": ["*"]}
    done = apply(owned, maintainers=[{**entry, "can": ["approve"]}], tests=[])
    assert done.returncode == 0, done.stdout[-3000:]
    (grant,) = [one for one in json.loads(policy(owned.lab))["grants"] if APPROVE in one.get("app", {})]
    assert set(grant) == {"src", "dst", "app"}
    wait.until(lambda: APPROVE in whois(owned) and CAPABILITY not in whois(owned), 20, "may approve, and no more")
    owned.open()
    assert reached(owned) == set()
    seen = owned.maintainer.run(watch_command(owned.url, "--frames", "1", "--retry", "2"), timeout=40, check=False)
    assert seen.returncode != 0, seen.stdout

    done = apply(owned, maintainers=[{**entry, "can": ["approve", "view"]}], tests=[])
    assert done.returncode == 0, done.stdout[-3000:]
    wait.until(lambda: CAPABILITY in whois(owned), 20, "may view, too")
    assert APPROVE in whois(owned)
    assert len(owned.watch()) == 5
    assert {8550, 8554} <= reached(owned)


@pytest.mark.requirement("A5")
def test_a_test_of_the_owner_that_fails_keeps_the_policy_as_it_was(owned: Site) -> None:
    """headscale runs the policy's own tests before anything is written."""
    before = policy(owned.lab)
    barred = {"src": "maintainer@", "proto": "tcp", "deny": ["tag:gateway:8554"]}
    refused = apply(owned, tests=[barred])
    assert refused.returncode == 2
    assert "headscale refuses POST policy/check" in " ".join(refused.stdout.split()), refused.stdout[-3000:]
    assert policy(owned.lab) == before


@pytest.mark.requirement("A5")
def test_the_examples_denies_hold_on_a_real_headscale(owned: Site) -> None:
    """In the form that it takes; a list that lets the denied one watch is refused, and with it the whole policy."""
    text = (ROOT / "inventories/example/group_vars/all.yml").read_text()
    denies = [{**test, "src": "member@"} for test in yaml.safe_load(text)["sightglass_tailnet_policy_tests"]]
    change_policy(owned.lab, lambda changed: changed.update(tests=[]))
    done = apply(owned, tests=denies)
    assert done.returncode == 0, done.stdout[-3000:]
    before = policy(owned.lab)
    assert json.loads(before)["tests"][-len(denies) :] == denies
    refused = apply(owned, tests=denies, maintainers=[{"src": ["member@"], "sites": ["*"]}])
    assert refused.returncode == 2, refused.stdout[-3000:]
    assert "member@ -> tag:gateway:8554 (tcp): expected DENIED, got ALLOWED" in " ".join(refused.stdout.split())
    assert policy(owned.lab) == before
    # Who may approve reaches no port: the denies hold for him, too.
    assert (
        apply(owned, tests=denies, maintainers=[{"src": ["member@"], "sites": ["*"], "can": ["approve"]}]).returncode
        == 0
    )


@contextlib.contextmanager
def meddler(site: Site, other: str) -> Iterator[str]:
    """Somebody who writes his policy while ours is being checked; the address at which to be met by him."""
    words = [sys.executable, str(TOOLS / "meddle.py"), str(site.lab.data["headscale_url"])]
    with site.lab.host("ops").popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as between:
        assert between.stdin is not None
        assert between.stdout is not None
        between.stdin.write(other)
        between.stdin.close()
        try:
            yield f"http://127.0.0.1:{int(between.stdout.readline())}"
        finally:
            between.kill()


@pytest.mark.requirement("A5")
def test_what_somebody_else_writes_meanwhile_is_not_overwritten(owned: Site) -> None:
    """The network team saves a rule between our reading and our writing: theirs stays, the sentence shows it, and the
    next run keeps it."""
    theirs = REMARK + policy(owned.lab)
    named = {"maintainers": [{"src": ["maintainer@"], "sites": ["gw1"]}]}
    with meddler(owned, theirs) as url:
        refused = apply(owned, url=url, **named)
        assert refused.returncode == 2, refused.stdout[-3000:]
        said = " ".join(refused.stdout.split())
        assert "the policy changed while this ran (" in said, said[-1500:]
        assert "The network team's" in said
        assert policy(owned.lab) == theirs
        done = apply(owned, url=url, **named)
    assert done.returncode == 0, done.stdout[-3000:]
    assert policy(owned.lab).startswith(REMARK)
    assert '"gw1"' in policy(owned.lab)


@pytest.mark.requirement("A5")
def test_two_who_write_at_once_leave_one_whole_policy(owned: Site) -> None:
    """Whoever is told that it is written has written it, or somebody after him; the other is told to run it again."""
    entries = ({"sites": ["gw1"]}, {"sites": ["*"], "cameras": ["cam1"]})
    wanted = [{"maintainers": [{"src": ["maintainer@"], **entry}]} for entry in entries]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda each: apply(owned, **each), wanted))
    written = policy(owned.lab)
    told = [name for name, one in zip(("gw1", "cam1"), done, strict=True) if one.returncode == 0]
    assert told, "one of them at least"
    assert sum(f'"{name}"' in written for name in told) == 1, written
    for one in done:
        if one.returncode != 0:
            assert "run it again" in " ".join(one.stdout.split()), one.stdout[-3000:]


@pytest.mark.requirement("A5")
def test_a_key_that_headscale_does_not_know_writes_nothing(owned: Site, tmp_path: Path) -> None:
    """One of the right form: a sentence without the key, and the policy stays."""
    before, key = policy(owned.lab), Path(owned.lab.data["api_key_file"]).read_text().strip()
    wrong = key[:-1] + ("a" if key[-1] != "a" else "b")
    (tmp_path / "key").write_text(wrong)
    (tmp_path / "key").chmod(0o600)
    refused = apply(owned, api_key_file=str(tmp_path / "key"), maintainers=[])
    assert refused.returncode == 2, refused.stdout[-3000:]
    assert "headscale refuses the API key: it is wrong or has expired" in " ".join(refused.stdout.split())
    assert wrong not in refused.stdout + refused.stderr
    assert policy(owned.lab) == before
    assert apply(owned, maintainers=[]).returncode == 0, "the control: with the right one the same is written"
    assert policy(owned.lab) != before
