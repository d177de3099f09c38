"""Texts from outside that would write lines of their own into logs, records, screens and pages."""

from __future__ import annotations

import json
import re

import pytest

from lab import wait
from lab.agent import post
from lab.media import browser, next_event
from tests.lab.window.site_under_test import ROOT, Site

HOSTILE = {
    "newline": "plates\nsshd: root logged in",
    "carriage return": "plates\rsshd: root logged in",
    "terminal escape": "plates \x1b]0;owned\x07\x1b[2J",
    "C1 escape": "plates \x9b2J",
    "bidi": "plates \u202egnp.exe",
    "bidi isolate": "plates \u2066unread\u2069",
    "zero width": "plates\u200bunread",
    "line separator": "plates\u2028unread",
    "half a pair": "plates \ud83d",
    "invalid UTF-8": "plates \udcff\udcfe",
    "NUL": "plates \x00 unread",
    "very long": "x" * 15_000,
}
MARKUP = '<img src=x onerror="alert(1)">{"a":"%s\\n"}\'; DROP'


def body(**changes: object) -> dict[str, object]:
    """An opening that is right but for the changes."""
    right = {"request_id": "injection-01", "cameras": ["cam1"], "minutes": 5, "reason": "plates unread"}
    return {**right, "purpose": "debug", **changes}


def logged(site: Site, since: str) -> str:
    """What the units of ours have logged since, as it stands in the journal."""
    lines = [json.loads(line)["MESSAGE"] for line in site.journal(since, "-o", "json", "--all").splitlines()]
    # The journal gives as numbers what is no text.
    assert all(isinstance(line, str) for line in lines)
    return "\n".join(lines)


def idle_again(site: Site) -> None:
    """The lane's own publisher speaks again: it does so at a change alone."""
    site.lane("occupied")
    site.lane("idle")


def plain(text: str) -> bool:
    """Whether a text is printable lines."""
    return all(line.isprintable() for line in text.splitlines())


@pytest.mark.requirement("U5")
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_text_is_refused_in_one_sentence(site: Site, name: str) -> None:
    """Wherever it stands; the sentence is printable, short, and no part of the text is in log or record."""
    text, since, events = HOSTILE[name], site.journal_end(), len(site.events())
    bodies = [
        body(reason=text), body(claimed_name=text), body(request_id=text), body(cameras=[text]), body(viewers=[text]),
        body(purpose=text), body(privacy=text),
    ]  # fmt: skip
    asked = [("/v1/windows", each) for each in bodies]
    asked += [("/v1/windows/close", {"window": text}), ("/v1/windows/close", {"reason": text})]
    asked += [("/v1/disable", {"reason": text}), ("/v1/enable", {"reason": text})]
    for status, answer, _ in post(site.gateway, *asked):
        message = str(answer["message"])
        assert (status, answer["code"]) == (422, "bad-request")
        assert message.isprintable() and len(message) < 250, message
    assert logged(site, since) == ""
    assert len(site.events()) == events
    assert site.status()["state"] == "closed"


@pytest.mark.requirement("U1")
@pytest.mark.requirement("U5")
@pytest.mark.parametrize("name", ["newline", "C1 escape", "bidi"])
def test_a_hostile_reason_in_a_playbook_or_a_command_is_refused(site: Site, name: str) -> None:
    """One printable line each; nothing of it moves the cursor of who reads it."""
    text = HOSTILE[name]
    done = site.sightglass("open", "--camera", "cam1", "--reason", text)
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)
    assert plain(done.stderr) and len(done.stderr) < 300
    extra = json.dumps({"site": "gw1", "reason": text, "purpose": "debug"})
    command = ["ansible-playbook", "ansible/playbooks/window_open.yml", "-e", extra]
    played = site.lab.host("ops").run(command, timeout=120, check=False, cwd=str(ROOT))
    assert played.returncode == 2
    said = re.sub(r"\x1b\[[0-9;]*m", "", played.stdout + played.stderr)
    assert plain(said), said[-2000:]
    assert "reason" in said
    assert site.status()["state"] == "closed"


@pytest.mark.requirement("U5")
def test_a_reason_of_markup_and_quotes_is_kept_as_it_is(site: Site) -> None:
    """The control: a printable text opens a window, stands in the record character by character and on one line of it,
    and neither in the log nor on the page."""
    since = site.journal_end()
    window = site.open(reason=MARKUP, claimed_name=MARKUP)
    with browser(site.maintainer, site.page, "--stay", "20") as page:
        assert "DROP" not in json.dumps(next_event(page, "state"))
        page.kill()
    site.close()
    asked = next(event["who"] for event in site.events(window["id"]) if event["event"] == "opening")
    assert (asked["reason"], asked["claimed_name"]) == (MARKUP, MARKUP)
    shown = site.sightglass("receipts", "show").stdout
    assert plain(shown)
    assert sum(MARKUP in line for line in shown.splitlines() if window["id"] in line) == 1
    assert "DROP" not in logged(site, since)
    site.verify()


@pytest.mark.requirement("O2")
def test_a_lanes_payload_reaches_the_page_as_text(site: Site) -> None:
    """Markup that somebody publishes as the lane's state suspends the picture, and is shown, not run."""
    state = '<img src=x onerror="document.title=1">'
    since = site.journal_end()
    window = site.open(purpose="alignment")
    with browser(site.maintainer, site.page, "--stay", "30") as page:
        next_event(page, "seen")
        site.gateway.run(["mosquitto_pub", "-t", "parking/lane1/state", "-m", state])
        said = next_event(page, "state")
        while said["state"] != "suspended":
            said = next_event(page, "state")
        assert state in said["text"], "text, angle brackets and all: an element would have none"
        page.kill()
    assert site.status()["window"]["id"] == window["id"]
    idle_again(site)
    assert plain(logged(site, since))


@pytest.mark.requirement("O2")
@pytest.mark.parametrize("name", [name for name in HOSTILE if name not in ("half a pair", "NUL")] + ["NUL"])
def test_a_hostile_payload_of_a_lane_is_named_and_not_repeated(site: Site, name: str) -> None:
    """The lane is unknown, which refuses; guards, status, log and record hold nothing of what was sent."""
    since = site.journal_end()
    raw = HOSTILE[name].encode(errors="surrogateescape")
    send = "import sys; sys.stdout.buffer.write(bytes.fromhex(sys.argv[1]))"
    command = f"python3 -c '{send}' {raw.hex()} | mosquitto_pub -t parking/lane1/state -s"
    site.gateway.run(["sh", "-c", command])
    try:
        wait.until(lambda: site.sightglass("guards").returncode == 1, 10, "the lane's guard does not pass")
        said = site.sightglass("guards").stdout
        assert plain(said) and len(said) < 2000
        assert "its published state is" in said
        refused = site.ask_open()
        assert (refused.returncode, refused.stderr.count("\n")) == (3, 1)
        assert "refused (guard-lane)" in refused.stderr and plain(refused.stderr)
        assert not re.search("plates|owned|xxxx", said + refused.stderr + logged(site, since))
    finally:
        idle_again(site)
    site.wait_guards()
