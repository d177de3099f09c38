"""A window's record in hand: exported, verified elsewhere, named when somebody has changed it; and two operators."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import wait
from tests.lab.window.site_under_test import Site

pytestmark = pytest.mark.requirement("U5")
SECOND = "second-op"


@pytest.fixture
def second(site: Site) -> Iterator[str]:
    """One more operator with an account of their own on the gateway."""
    site.gateway.run(["useradd", "--create-home", "--groups", "sightglass-operators", SECOND])
    try:
        yield SECOND
    finally:
        site.gateway.run(["userdel", "--remove", SECOND], check=False)


def elsewhere(site: Site, *words: str) -> tuple[int, str]:
    """The command on another machine, where no agent is: exit code and stdout."""
    command = [sys.executable, "-m", "sightglass.cli", *words, "--socket", "/nonexistent"]
    done = site.lab.host("wan").run(command, check=False)
    return done.returncode, done.stdout


def test_a_windows_export_is_verified_elsewhere_and_a_change_is_named(site: Site, tmp_path: Path) -> None:
    """A viewer's visit with bytes and cut time is in both forms; a changed, a removed and a moved event are named."""
    window = site.open(claimed_name="<b>Anna</b>")
    with site.watching():
        wait.until(lambda: any(v["watching"] for v in site.status()["window"]["viewers"]), 10, "the viewer is seen")
        site.close()
    site.wait_closed()
    visits = site.sightglass("receipts", "show", "--window", window["id"], "--viewers", "--json")
    (visit,) = json.loads(visits.stdout)["visits"]
    assert (visit["who"]["user"], visit["by"], visit["cut"], visit["why"]) == ("maintainer", "player", True, "closed")
    assert visit["bytes"] > 10_000
    assert 0 < visit["cut_ms"] < 1000

    done = site.sightglass("receipts", "export", "--window", window["id"])
    assert done.returncode == 0, done.stderr
    file = tmp_path / "window.json"
    file.write_text(done.stdout)
    code, said = elsewhere(site, "receipts", "verify", str(file))
    assert (code, said.startswith("the chain of gw1 is whole after event ")) == (0, True), said

    lines = done.stdout.splitlines(keepends=True)
    for changed, name in (
        ([line.replace("maintainer", "somebody") for line in lines], "personal-edited"),
        ([line.replace('"by":"player"', '"by":"page"') for line in lines], "edited"),
        ([*lines[:2], *lines[3:]], "missing"),
        ([lines[0], lines[2], lines[1], *lines[3:]], "reordered"),
    ):
        assert changed != lines
        file.write_text("".join(changed))
        code, said = elsewhere(site, "receipts", "verify", str(file))
        assert (code, said.partition(":")[0]) == (1, name), said

    sheet = site.sightglass("receipts", "export", "--format", "html", "--window", window["id"]).stdout
    for part in (window["id"], "maintainer", "SHARED ACCOUNT", "&lt;b&gt;Anna&lt;/b&gt;", "cut: somebody closed it"):
        assert part in sheet
    assert "<b>" not in sheet


def test_an_export_is_a_new_file_for_its_owner(site: Site) -> None:
    """0600, and never over another one."""
    path = "/root/sightglass-export-test.html"
    words = ("receipts", "export", "--format", "html", "--output", path)
    try:
        assert site.sightglass(*words).returncode == 0
        assert site.gateway.run(["stat", "-c", "%a %U", path]).stdout == "600 root\n"
        again = site.sightglass(*words)
        assert (again.returncode, again.stderr) == (2, f"--output: {path} is there already, and is not written over\n")
    finally:
        site.gateway.run(["rm", "-f", path])


def test_a_second_operator_sees_who_holds_the_window_and_closes_it(site: Site, second: str) -> None:
    """The holder's account, flagged, with the claimed name as such; the close stands in the record as the closer's own.
    A user who is no operator is told nothing."""
    done = site.gateway.run(
        ["sightglass", "open", "--camera", "cam1", "--purpose", "debug", "--reason", "a test looks at it",
         "--claimed-name", "Anna", "--json"], user="admin", timeout=40)  # fmt: skip
    window = json.loads(done.stdout)
    assert window["opened_by"]["said"] == "the shared account admin (claimed name: Anna)"
    asked = ["open", "--camera", "cam1", "--purpose", "debug", "--reason", "my turn now"]
    refused = site.sightglass(*asked, user=second)
    assert refused.returncode == 3
    assert refused.stderr.startswith(
        f"refused (second-window): a window is open already: {window['id']}, opened by the shared account admin "
        "(claimed name: Anna), until "
    )
    assert " (at the site " in refused.stderr
    stranger = site.sightglass(*asked, user="nobody")
    assert stranger.returncode == 3
    assert stranger.stderr == "refused (not-an-operator): nobody is not in the group sightglass-operators\n"
    closed = site.sightglass("close", "--reason", "it was forgotten", "--claimed-name", "Ben B", user=second)
    assert closed.returncode == 0, closed.stderr
    site.wait_closed()
    (cause,) = [event for event in site.events(window["id"]) if event["event"] == "cause"]
    who = {name: cause["who"][name] for name in ("user", "group", "shared", "claimed_name", "reason")}
    assert who == {
        "user": second, "group": "sightglass-operators", "shared": False, "claimed_name": "Ben B",
        "reason": "it was forgotten",
    }  # fmt: skip
    opening = next(event for event in site.events(window["id"]) if event["event"] == "opening")
    assert (opening["who"]["user"], opening["who"]["shared"], opening["who"]["claimed_name"]) == ("admin", True, "Anna")
    site.verify()
