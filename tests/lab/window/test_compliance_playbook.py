"""compliance.yml over inventories that are whole, broken and empty: only what was seen to hold looks like success."""

from __future__ import annotations

import json
import subprocess
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.lab.window.site_under_test import ROOT, Site

pytestmark = pytest.mark.requirement("U3")

PLAYBOOK = "ansible/playbooks/compliance.yml"
CONTROLS = {"listeners", "stranger", "processes", "confined", "enabled", "agent"}
LISTED = "sightglass_compliance_listeners"
Outcomes = dict[tuple[str, str], tuple[str, str]]
Check = Callable[..., tuple[subprocess.CompletedProcess[str], Outcomes]]


@pytest.fixture
def check(site: Site, tmp_path: Path) -> Check:
    """Runs the playbook on `ops`; gives what it said, and JUnit as {(gateway, control): (outcome, why)}."""

    def run(
        *words: str, inventory: dict[str, Any] | None = None, lab: bool = True
    ) -> tuple[subprocess.CompletedProcess[str], Outcomes]:
        sources = ["-i", "inventories/lab"] if lab else []
        if inventory is not None:
            more = tmp_path / "more.yml"
            more.write_text(json.dumps({"gateways": {"hosts": inventory}}))
            sources += ["-i", str(more)]
        report = tmp_path / "report"
        command = ["ansible-playbook", *sources, PLAYBOOK, "-e", f"report={report}", *words]
        done = site.lab.host("ops").run(command, timeout=180, check=False, cwd=str(ROOT))
        file = report / "compliance.xml"
        return done, outcomes(file) if file.exists() else {}

    return run


def outcomes(file: Path) -> Outcomes:
    """What a CI server reads. Each case has the sums of its suite to agree with."""
    found: Outcomes = {}
    for within in ET.parse(file).getroot().iter("testsuite"):
        cases = list(within.iter("testcase"))
        for case in cases:
            control = next(p.get("value", "") for p in case.iter("property") if p.get("name") == "control")
            bad = [(child.tag, child.get("message", "")) for child in case if child.tag != "properties"]
            found[within.get("name", ""), control.partition(":")[0]] = bad[0] if bad else ("passed", "")
        told = [within.get(name) for name in ("tests", "failures", "errors", "skipped")]
        tags = [[child.tag for child in case] for case in cases]
        sums = [len(cases), *(sum(tag in each for each in tags) for tag in ("failure", "error", "skipped"))]
        assert told == [str(each) for each in sums]
    return found


def names(site: Site) -> list[str]:
    """The lab's gateways: gw1, which the tests change, and others that stay as they are."""
    return [gateway.name for gateway in site.lab.gateways]


def passed(site: Site, controls: set[str] = CONTROLS) -> Outcomes:
    """Every control of every gateway."""
    return {(name, control): ("passed", "") for name in names(site) for control in controls}


def test_a_gateway_as_the_roles_made_it_passes(site: Site, check: Check) -> None:
    """Exit code 0, every control by its name and requirement, and nothing was opened."""
    events = len(site.events())
    done, found = check()
    assert done.returncode == 0, done.stdout
    assert found == passed(site)
    count = len(names(site))
    assert f"{6 * count} passed, 0 failed, 0 not assessed, of {count} gateways" in done.stdout
    assert "Nothing listens but what the site lists" in done.stdout
    assert len(site.events()) == events, "a check of a production site opens no window"


@contextmanager
def listening(site: Site, address: str) -> Iterator[None]:
    """Something that nobody knows of listens on the gateway."""
    script = f"import http.server as h; h.HTTPServer(('{address}', 9999), h.SimpleHTTPRequestHandler).serve_forever()"
    planted = ["systemd-run", "--quiet", "--collect", "--unit=forgotten", "--uid=nobody", "--"]
    site.gateway.run([*planted, "python3", "-c", script])
    try:
        site.gateway.run(
            ["sh", "-ec", "for _ in $(seq 100); do ss -Hltn | grep -q :9999 && exit; sleep .1; done; exit 1"]
        )
        yield
    finally:
        site.gateway.run(["systemctl", "stop", "forgotten.service"])


def test_what_listens_publicly_fails_and_is_named(site: Site, check: Check) -> None:
    """One line with its port, address and unit, a failure in JUnit, exit code 2; the rest still passes."""
    with listening(site, "0.0.0.0"):
        done, found = check()
    assert done.returncode == 2
    why = "not in the site's list: tcp port 9999 on any (IPv4) of forgotten.service"
    assert found == passed(site) | {("gw1", "listeners"): ("failure", why)}
    assert f"gw1: listeners: failed: {why}" in done.stdout


def test_a_control_that_is_not_met_fails_and_is_named(site: Site, check: Check) -> None:
    """A drop-in that lets the stream server swap is found by systemd's own word."""
    drop_in = "/run/systemd/system/sightglass-mediamtx.service.d"
    site.gateway.run(["sh", "-ec", f"mkdir -p {drop_in}; printf '[Service]\nMemorySwapMax=1M\n' >{drop_in}/x.conf"])
    try:
        site.gateway.run(["systemctl", "daemon-reload"])
        done, found = check()
    finally:
        site.gateway.run(["sh", "-ec", f"rm -r {drop_in}; systemctl daemon-reload"])
    assert done.returncode == 2
    why = "sightglass-mediamtx.service: MemorySwapMax is '1048576', must be '0'"
    assert found == passed(site) | {("gw1", "confined"): ("failure", why)}


def test_a_gateway_that_cannot_be_seen_was_not_assessed(site: Site, check: Check) -> None:
    """Silent, without root, with a broken variable or list: an error for each control, in a bounded time; the others
    are assessed."""
    wan, gateway = site.lab.host("wan"), {"ansible_host": site.gateway.vpn4}
    bad = {"protocol": "tcp", "where": "any", "port": 0, "unit": "a.service"}
    hosts: dict[str, dict[str, Any]] = {
        "silent": {"ansible_host": wan.wan4},
        "broken": {"ansible_host": "{{ nowhere }}"},
        "rootless": gateway | {"ansible_become_user": "nobody"},
        "other": gateway | {"ansible_become_method": "su"},
        "local": gateway | {"ansible_connection": "local"},
        "mistaken": gateway | {LISTED: [bad]},
        "listless": gateway | {LISTED: None},
    }
    whys = {
        "silent": f"ssh: connect to host {wan.wan4} port 22: Connection timed out",
        "broken": "the suite gave no result: Task failed: ",
        "rootless": "it does not let us be root: uid 65534",
        "other": 'ansible_become_method: must be sudo for this check, not "su"',
        "local": 'ansible_connection: must be ssh for this check, not "local"',
        "mistaken": f"{LISTED}[0].port: Input should be greater than or equal to 1, not 0",
        "listless": f"{LISTED}: must list what the site itself listens on, and is missing",
    }
    wan.run(["nft", "add table ip deaf; add chain ip deaf in { type filter hook input priority 0; policy drop; }"])
    try:
        began = time.monotonic()
        done, found = check(inventory=hosts)
        assert time.monotonic() - began < 120
    finally:
        wan.run(["nft", "delete table ip deaf"])
    assert done.returncode == 2
    unknown = {key: value for key, value in found.items() if key[0] not in names(site)}
    assert found == passed(site) | unknown
    assert set(unknown) == {(name, control) for name in hosts for control in CONTROLS}
    assert {outcome for outcome, _ in unknown.values()} == {"error"}
    told = {name: why for (name, control), (_, why) in unknown.items() if control == "agent"}
    assert {name: why[: len(whys[name])] for name, why in told.items()} == whys
    assert "'nowhere' is undefined" in told["broken"]
    count = len(names(site))
    assert f"{6 * count} passed, 0 failed, 42 not assessed, of {7 + count} gateways" in done.stdout


def test_somebodys_window_is_looked_at_and_left_open(site: Site, check: Check) -> None:
    """Its ports on the VPN are no fault; what listens elsewhere meanwhile is; a window of our own is not tried."""
    window = site.open()["id"]
    done, found = check()
    assert (done.returncode, found) == (0, passed(site)), done.stdout
    with listening(site, "0.0.0.0"):
        done, found = check("-e", "site=gw1", "-e", "during=true")
    assert done.returncode == 2
    assert found["gw1", "listeners"][0] == "failure"
    assert found["gw1", "during"] == ("error", "a window is open")
    status = site.status()
    assert (status["state"], status["window"]["id"]) == ("open", window)


def test_a_window_of_its_own_is_opened_and_closed(site: Site, check: Check) -> None:
    """during=true: one window in the record, closed by command, and its ports were looked at while it was open."""
    before = len(site.events())
    done, found = check("-e", "site=gw1", "-e", "during=true")
    assert (done.returncode, set(found.values())) == (0, {("passed", "")}), done.stdout
    assert set(found) == {("gw1", control) for control in CONTROLS | {"during"}}
    new = site.events()[before:]
    assert [event["event"] for event in new if event["event"] in ("opened", "closed")] == ["opened", "closed"]
    assert not site.left()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["-e", "site=gw7"], "site: must be the name of one gateway (gw1"),
        (["-e", "site="], "site: must be the name of one gateway (gw1"),
        (["-e", "during=perhaps"], 'during: must be true or false, not "perhaps"'),
        (["-e", "report=~/reports"], "report: must not begin with ~"),
        (["-e", "report=two words"], "report: must be quoted for Ansible too"),
        (["--limit", "gw1"], "Use -e site=NAME for one gateway: --limit also leaves the report out."),
    ],
)
def test_bad_input_is_refused_in_one_sentence(check: Check, words: list[str], sentence: str) -> None:
    """Naming the parameter, the rule and the value; nothing is assessed."""
    done, found = check(*words)
    assert (done.returncode, found) == (2, {})
    assert sentence in done.stdout


def test_check_mode_says_what_it_would_assess(site: Site, check: Check) -> None:
    """And looks at nothing: where no connection is kept, nobody logs in."""
    site.lab.forget_connections()
    since = site.journal_end()

    def logins() -> str:
        return site.gateway.run(["journalctl", "--no-pager", "--after-cursor", since, "-t", "sshd"]).stdout

    done, found = check("--check", "-e", "during=true")
    assert (done.returncode, found) == (0, {}), done.stdout
    assert f"would assess {', '.join(names(site))} as they are and during a window of their own" in done.stdout
    # Not its first line, "Accepted publickey": with a filter journalctl leaves out the first entry after a cursor.
    login = "session opened for user admin"
    assert login not in logins()
    looked, _ = check("-e", "site=gw1")
    assert login in logins(), f"the control: a run that looks leaves a login: {looked.stdout}"


def test_an_inventory_without_gateways_is_no_success(check: Check) -> None:
    """Nothing that was assessed is not everything that passed."""
    assert "would assess gw1" in check("--check")[0].stdout, "the control: the same with gateways"
    done, found = check(inventory={}, lab=False)
    assert (done.returncode, found) == (2, {})
    assert "inventory: must have hosts in the group gateways, and has none" in done.stdout


def test_without_the_suites_tools_nothing_is_said_of_a_gateway(site: Site, check: Check, tmp_path: Path) -> None:
    """One sentence that names what is missing; the control is every other test here."""
    (tmp_path / "testinfra.py").write_text("raise ImportError('no testinfra here')")
    command = ["env", f"PYTHONPATH={tmp_path}", "ansible-playbook", PLAYBOOK]
    done = site.lab.host("ops").run(command, timeout=60, check=False, cwd=str(ROOT))
    assert done.returncode == 2
    assert "cannot import what the check needs" in done.stdout
    assert "no testinfra here" in done.stdout
