"""The record on a gateway, under somebody with a hand on its disk: what is put back, cut or taken away is named."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from lab import wait
from tests.lab.window.site_under_test import Site

pytestmark = pytest.mark.requirement("U5")

STATE = "/var/lib/sightglass"
OLDER, TRUE = "/root/older", "/root/true"


def stop(site: Site) -> None:
    """The agent and its sockets, so that nobody's question starts it again."""
    site.gateway.run(["systemctl", "stop", "sightglass-agent.socket", "sightglass-agent.service"])


def start(site: Site) -> None:
    """And wait until it answers."""
    site.gateway.run(["systemctl", "start", "sightglass-agent.socket", "sightglass-agent.service"])
    wait.until(lambda: site.status()["state"] == "closed", 20, "the agent is back and closed")


def copy(site: Site, source: str, target: str) -> None:
    """Put a copy in place of what is there."""
    site.gateway.run(["sh", "-ec", f"rm -rf {target}; cp -a {source} {target}"])


def found(site: Site, *words: str) -> tuple[int, list[str]]:
    """The exit code of `receipts verify`, and what it names."""
    done = site.sightglass("receipts", "verify", "--json", *words)
    return done.returncode, [problem["name"] for problem in json.loads(done.stdout)["problems"]]


@pytest.fixture
def before(site: Site) -> Iterator[str]:
    """The state is copied away; the head of then a window later stands in the journal. The true state is put back."""
    assert found(site) == (0, []), "the control: an untouched chain is whole"
    since = site.journal_end()
    copy(site, STATE, OLDER)
    site.open()
    site.close()
    chain = site.status()["chain"]
    stop(site)
    copy(site, STATE, TRUE)
    start(site)
    assert found(site) == (0, []), "the control: a restart is no fault"
    stop(site)
    copy(site, TRUE, STATE)
    try:
        assert f"receipts: the last event is {chain['n']}:{chain['hash']}" in site.journal(since)
        yield since
    finally:
        stop(site)
        copy(site, TRUE, STATE)
        site.gateway.run(["rm", "-rf", OLDER, TRUE])
        start(site)
        assert found(site) == (0, []), "the control: with the true files back it is whole"


def last_in(text: str) -> str:
    """The head of the last window that the journal remembers."""
    return next(line for line in reversed(text.splitlines()) if "the last event is" in line).rpartition(" ")[2]


def test_an_older_copy_of_the_receipts_is_named_for_ever(site: Site, before: str) -> None:
    """By verify's exit code, in the journal, after the next window and restart, too; and windows go on."""
    known = last_in(site.journal(before))
    copy(site, f"{OLDER}/receipts", f"{STATE}/receipts")
    start(site)
    assert found(site) == (1, ["shortened"])
    assert "receipts: shortened: the chain ends at" in site.journal(before)
    said = site.sightglass("receipts", "verify")
    assert (said.returncode, said.stdout.count("\n")) == (1, 1)
    assert f"but {known} had been written" in said.stdout
    site.wait_guards()
    site.open()
    site.close()
    stop(site)
    start(site)
    assert found(site) == (1, ["shortened"])
    assert found(site, "--known", known) == (1, ["shortened", "rewritten"])


def test_a_whole_older_state_is_named_by_who_remembers(site: Site, before: str) -> None:
    """A card's copy of last week: nothing on it can tell, the head in the journal can."""
    known = last_in(site.journal(before))
    copy(site, OLDER, STATE)
    start(site)
    assert found(site) == (0, []), "on the gateway alone it is whole"
    assert found(site, "--known", known) == (1, ["shortened"])


CHAIN = f"{STATE}/receipts/chain.jsonl"
DONE = {
    "the last line is gone": (f"sed -i '$d' {CHAIN}", {"shortened"}),
    "a line is gone": (f"sed -i 2d {CHAIN}", {"missing"}),
    "two lines changed places": (f"sed -i '2{{h;d}};3{{G}}' {CHAIN}", {"reordered"}),
    "another time": (f"sed -i '2s/00:00\"/01:00\"/' {CHAIN}", {"edited"}),
    "another word": (f'sed -i \'2s/"boot"/"root"/\' {CHAIN}', {"unreadable", "missing"}),
    "the last line is torn": (f"truncate -s -1 {CHAIN}", {"shortened"}),
    "the file is gone": (f"rm {CHAIN}", {"shortened"}),
    "everything is gone": (f"rm -r {STATE}/receipts", {"shortened"}),
    "the witness is gone": (f"rm {STATE}/head.json", {"unwitnessed"}),
    "the names are gone": (f"find {STATE}/receipts/personal -type f -delete", {"personal-missing"}),
}


def test_what_is_done_to_the_files_of_a_stopped_agent_is_named(site: Site, before: str) -> None:
    """With the tools that everybody has; each from the true files, which are whole in between."""
    for what, (done, named) in DONE.items():
        site.gateway.run(["sh", "-ec", done])
        start(site)
        code, names = found(site)
        assert (code, set(names) - {"more"}) == (1, named), what
        stop(site)
        copy(site, TRUE, STATE)


def test_receipts_that_the_agent_may_not_read_keep_it_closed_and_it_says_why(site: Site, before: str) -> None:
    """A copy put back by root, for root: one sentence in the journal, no traceback, no window."""
    site.gateway.run(["sh", "-ec", f"chown -R root:root {STATE}/receipts; chmod -R go= {STATE}/receipts"])
    site.gateway.run(["systemctl", "start", "--no-block", "sightglass-agent.socket", "sightglass-agent.service"])
    wait.until(
        lambda: f"sightglass-agent: {STATE}/receipts: Operation not permitted" in site.journal(before), 20, "a word"
    )
    assert "Traceback" not in site.journal(before)
    assert site.left() == []
    assert site.gateway.run(["systemctl", "is-active", "sightglass-agent"], check=False).returncode != 0
