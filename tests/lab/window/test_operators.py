"""What an operator sees of a bad line, of another operator, and of a record that does not go on."""

from __future__ import annotations

import json
import re
import secrets
import subprocess
import time
from typing import Any

import pytest

from lab import wait
from tests.lab.window.site_under_test import ROOT, Site

REASON = "reason='Plates unread since Monday'"


def said(done: subprocess.CompletedProcess[str]) -> str:
    """All that it said, in one line."""
    return " ".join(done.stdout.split())


def interrupted(site: Site) -> tuple[str, dict[str, Any], str]:
    """A playbook that asked for a window and lost its line before the answer: request id, window, what it said.

    The answer may be quicker than the hand at the plug: then the same is done again with another request.
    """
    for _ in range(3):
        request = f"lost-{secrets.token_hex(4)}"
        asked = site.playing("window_open", "site=gw1", "minutes=5", "purpose=debug", REASON, f"request_id={request}")
        site.wait_reachable()
        asking = site.lab.host("ops").popen(asked, stdout=subprocess.PIPE, text=True, cwd=str(ROOT))
        try:
            wait.until(lambda: site.status()["state"] in ("opening", "open"), 60, "the request has arrived")
            with site.lab.unplugged("gw1"):
                out, _ = asking.communicate(timeout=90)
        finally:
            asking.kill()
        if asking.returncode:
            return request, site.status()["window"], out
        site.close()
    raise AssertionError("three answers came before the line could be broken")


@pytest.mark.requirement("U1")
def test_a_request_whose_answer_is_lost_may_be_asked_again(site: Site) -> None:
    """The line breaks while the window opens: the playbook names the request id, and with it finds the one window."""
    request, window, out = interrupted(site)
    assert (window["request_id"], window["state"]) == (request, "open"), "it opened all the same"
    assert f"ask again with -e request_id={request}" in " ".join(out.split())
    site.wait_reachable()
    again = site.play("window_open", "site=gw1", "minutes=5", "purpose=debug", REASON, f"request_id={request}")
    assert again.returncode == 0, again.stdout
    assert f"open: {window['id']}" in again.stdout
    assert "changed=0" in again.stdout.rpartition("gw1 ")[2]
    assert site.status()["window"]["deadline"] == window["deadline"]
    openings = [event["data"]["request_id"] for event in site.events() if event["event"] == "opening"]
    assert openings.count(request) == 1


def pinged(site: Site) -> tuple[float, int]:
    """Forty pings over the gateway's wire: the median of their milliseconds, and how many had no answer."""
    words = ["ping", "-n", "-c40", "-i0.05", "-W2", str(site.lab.host("ops").wan4)]
    shown = site.gateway.run(words, timeout=30, check=False).stdout
    times = sorted(float(found) for found in re.findall(r"time=([0-9.]+) ms", shown))
    assert times, shown
    return times[len(times) // 2], 40 - len(times)


@pytest.mark.requirement("U1")
def test_a_slow_line_that_loses_packets_is_enough(site: Site) -> None:
    """150 ms each way and one packet in twenty lost: open, look, close. The control: a ping feels both."""
    site.wait_reachable()
    quick, _ = pinged(site)
    with site.lab.bad_wire("gw1", delay_ms=150, loss_percent=5):
        lost = 0
        for playbook, asked, shown in (
            ("window_open", ("minutes=5", "purpose=debug", REASON), "open: w-"),
            ("window_status", (), "gw1: open"),
            ("window_close", ("reason='It is straight again'",), "closed: w-"),
        ):
            done = site.play(playbook, "site=gw1", *asked)
            assert done.returncode == 0, done.stdout
            assert shown in done.stdout
            slow, missing = pinged(site)
            assert slow >= 300 > quick
            lost += missing
        assert lost > 0
    assert site.left() == []


@pytest.mark.requirement("U1")
def test_an_operator_sees_how_far_a_playbook_is(site: Site) -> None:
    """While it waits for a gateway that says nothing, it has shown the request's id and what it is doing."""
    site.wait_reachable()
    asked = site.playing("window_open", "site=gw1", "purpose=debug", REASON, "request_id=progress-0001")
    site.gateway.run(["systemctl", "kill", "-s", "STOP", "sightglass-agent.service"])
    shown: list[str] = []
    try:
        with site.lab.host("ops").popen(asked, stdout=subprocess.PIPE, text=True, cwd=str(ROOT)) as asking:
            assert asking.stdout is not None
            for line in asking.stdout:
                shown.append(line)
                if "TASK [Ask the gateway's agent]" in line:
                    break
            assert site.left() == []
            assert asking.poll() is None, "it waits"
            assert "request progress-0001: cam1 of gw1" in "".join(shown)
            site.gateway.run(["systemctl", "kill", "-s", "CONT", "sightglass-agent.service"])
            rest, _ = asking.communicate(timeout=90)
    finally:
        site.gateway.run(["systemctl", "kill", "-s", "CONT", "sightglass-agent.service"])
    assert (asking.returncode, "open: w-" in rest) == (0, True), rest


@pytest.mark.requirement("U1")
@pytest.mark.requirement("U2")
def test_a_gateway_that_cannot_be_reached_is_said_in_time(site: Site) -> None:
    """Each playbook names it in a sentence and fails, within a minute; the control: reached, they end well."""
    site.wait_reachable()
    with site.lab.unplugged("gw1"):
        for playbook, asked in (
            ("window_open", ("site=gw1", REASON)),
            ("window_close", ("site=gw1",)),
            ("window_status", ("site=gw1",)),
            ("ledger_accept", ("site=gw1", REASON)),
        ):
            began = time.monotonic()
            done = site.play(playbook, *asked)
            assert time.monotonic() < began + 60
            assert done.returncode not in (0, None), done.stdout
            assert re.search(r"gw1\W.{0,40}unreachable: \w", said(done)), done.stdout
            assert "Traceback" not in done.stdout + done.stderr
    site.wait_reachable()
    for playbook in ("window_close", "window_status"):
        assert site.play(playbook, "site=gw1").returncode == 0
    assert site.status()["state"] == "closed"


def typed_by(site: Site, name: str, playbook: str, *asked: str) -> subprocess.CompletedProcess[str]:
    """A playbook that somebody of this name types at the operators' host."""
    words = ["env", f"USER={name}", *site.playing(playbook, *asked)]
    return site.lab.host("ops").run(words, timeout=120, check=False, cwd=str(ROOT))


@pytest.mark.requirement("U1")
@pytest.mark.requirement("U5")
def test_a_second_operator_hears_who_holds_the_window_and_may_close_it(site: Site) -> None:
    """Both come through the same account: it is flagged, and each claimed name stands apart, in the record too."""
    site.wait_reachable()
    opened = typed_by(site, "anna", "window_open", "site=gw1", "purpose=debug", REASON)
    assert opened.returncode == 0, opened.stdout
    holder = "opened by the shared account admin (claimed name: anna)"
    assert holder in said(opened)
    window = site.status()["window"]
    second = typed_by(site, "bob", "window_open", "site=gw1", "purpose=debug", REASON)
    assert second.returncode == 2, second.stdout
    assert f"refused (second-window): a window is open already: {window['id']}, {holder}, until " in said(second)
    assert window["deadline"][:16] in said(second)
    closed = typed_by(site, "bob", "window_close", "site=gw1", "reason='The lane is needed'")
    assert closed.returncode == 0, closed.stdout
    events = {event["event"]: event for event in site.events(window["id"])}
    assert [events[name]["who"]["claimed_name"] for name in ("opening", "cause")] == ["anna", "bob"]
    for name in ("opening", "cause"):
        who = events[name]["who"]
        assert (who["user"], who["group"], who["shared"]) == ("admin", "sightglass-operators", True)


def chain_of(site: Site) -> dict[str, Any]:
    """The head of the record, by the gateway's word."""
    chain: dict[str, Any] = site.status()["chain"]
    return chain


STATE, KEPT = "/var/lib/sightglass", "/var/lib/sightglass.kept"
UNITS = ["sightglass-agent.socket", "sightglass-agent.service"]
HANDS = {
    "shortened": f"rm -rf {STATE} && mv {KEPT} {STATE}",
    "rewritten": f"rm -rf {STATE} && mv {KEPT} {STATE}",
    "restarted": f"find {STATE} -mindepth 1 -delete; rm -rf {KEPT}",
}


@pytest.mark.requirement("U5")
@pytest.mark.parametrize("how", HANDS)
def test_a_record_that_does_not_go_on_is_named_at_the_next_contact(site: Site, how: str) -> None:
    """The agent's whole state as it was before the last window, the same with other windows after it, or none at all,
    which the gateway alone cannot tell: the controller names it, refuses to open, goes on to close, and says so until
    somebody accepts it."""
    site.gateway.run(["sh", "-c", f"rm -rf {KEPT} && cp -a {STATE} {KEPT}"])
    opened = site.play("window_open", "site=gw1", "purpose=debug", REASON)
    assert opened.returncode == 0, opened.stdout
    assert site.play("window_close", "site=gw1").returncode == 0
    assert site.play("window_status").returncode == 0, "the control: a record that goes on is no alarm"
    seen = chain_of(site)
    site.gateway.run(["systemctl", "stop", *UNITS])
    site.gateway.run(["sh", "-c", HANDS[how]])
    site.gateway.run(["systemctl", "start", *UNITS])
    site.wait_guards()
    assert chain_of(site)["n"] < seen["n"]
    while how == "rewritten" and chain_of(site)["n"] <= seen["n"]:
        site.open()
        site.close()
    found = site.play("window_status")
    assert found.returncode == 2, found.stdout
    assert f"gw1: its record was {how} (seen 20" in said(found)
    assert f"{seen['n']}:{seen['hash']}" in found.stdout, "the whole event, as `receipts verify --known` takes it"
    refused = site.play("window_open", "site=gw1", "purpose=debug", REASON)
    assert refused.returncode == 2
    assert f"refused (ledger): gw1: its record was {how}" in said(refused)
    assert site.left() == []
    assert site.play("window_close", "site=gw1").returncode == 0, "closing works whatever is with the record"
    known = site.sightglass("receipts", "verify", "--known", f"{seen['n']}:{seen['hash']}")
    assert known.returncode == 1, "the gateway's own record, held to that event"
    accepted = site.play("ledger_accept", "site=gw1", "reason='The test put it back'")
    assert accepted.returncode == 0, accepted.stdout
    assert site.play("window_status").returncode == 0
    assert site.play("window_open", "site=gw1", "purpose=debug", REASON).returncode == 0
    ledger = site.lab.host("ops").run(["sh", "-c", "cat ~/.local/share/sightglass/ledger/gw1.jsonl"]).stdout
    names = [name for line in ledger.splitlines() for name in ("alarm", "accepted") if name in json.loads(line)]
    assert names[-2:] == ["alarm", "accepted"]
