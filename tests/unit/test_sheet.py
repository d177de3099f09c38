"""The privacy officer's sheet: what it must say, and that nobody's text becomes markup in it."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightglass.sheet.markup import Html, tag, text
from sightglass.sheet.story import Story, stories
from tests.unit.export_parts import ONE, OTHER, TWO, VIEWER, Record, page, record

pytestmark = pytest.mark.requirement("U5")
HOSTILE = [
    "<script>alert(1)</script>",
    "</strong></bdi></dd><img src=http://evil.example/x onerror=alert(1)>",
    '" style="x" onmouseover="alert(1)',
    "&lt;b&gt; &#60;script&#62;",
    "turned \u202etxt.exe \u2066x\u2069 \u200f",
    "null\x00 escape\x1b[2J line\nbreak\u2028 \ufeff",
    "x" * 200,
    "W" * 100 + " " + "\u05d0\u05d1\u05d2" * 33,
]


class Seen(HTMLParser):
    """The elements and the text that a browser makes of a page."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[tuple[str, str]] = set()
        self.said: list[str] = []
        self.depth: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """One element."""
        self.tags.append(tag)
        self.attributes.update((name, value or "") for name, value in attrs)
        if tag != "meta":
            self.depth.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Each ends what was begun last."""
        assert self.depth.pop() == tag

    def handle_data(self, data: str) -> None:
        """Text."""
        if self.depth[-1:] != ["style"]:
            self.said.append(data)

    @property
    def words(self) -> str:
        """All text, spaces as one."""
        return " ".join(" ".join(self.said).split())


PLAIN = Seen(page(record().events))


def test_it_says_what_an_officer_asks() -> None:
    """Who asked and by what account, why, when, who watched, how it ended, what was refused, whether it is whole."""
    words = PLAIN.words
    for said in (
        "Maintenance windows of the site lab-gw1", "everything (events 1 to 20 of 20)", "The record is whole.",
        "cam1, cam2", "framing and focus; picture: redacted (a coarse mosaic)", "Plates unread since Monday",
        "admin (account number 1000, by right of sightglass-operators) SHARED ACCOUNT claimed name, not checked: anna",
        "root (account number 0, by right of root) SHARED ACCOUNT nobody named reason: the camera is straight",
        "2026-11-23 07:00:00 UTC (08:00:00 CET)", "2026-11-23 07:15:00 UTC (08:15:00 CET) (15 minutes)",
        "2026-11-27 23:55:00 UTC (2026-11-28 00:55:00 CET)", "the lane was not safe (lane1 is 'moving')",
        "somebody closed it", "Cut within 2.4 ms", "8 min 40 s", "9.3 MB", "1.8 MB",
        "cut: the permission was taken away (within 1.7 ms)", "cut: somebody closed it (within 2.4 ms)",
        "no capability for this site", "nobody came to watch (nobody joined within 600 s)", "Nobody.",
        "Rule guard-lane", "Rule second-window", "windows disabled", "windows enabled again", "the agent was started",
        "2 windows, 2 visits.", "What this record cannot show", "Such a person can write the whole record anew.",
    ):  # fmt: skip
        assert " ".join(said.split()) in words, said
    assert words.count("SHARED ACCOUNT") == 3
    for person in (VIEWER, OTHER):
        assert f"{person['user']}" in words
        assert f"{person['name']}" in words


def test_it_is_one_file_without_script_or_anything_from_elsewhere() -> None:
    """And says so to the browser: nothing but its own style is let."""
    source = page(record().events)
    assert {"script", "img", "link", "iframe", "form", "a", "object"}.isdisjoint(PLAIN.tags)
    assert {name for name, _ in PLAIN.attributes} <= {
        "lang", "charset", "http-equiv", "content", "name", "class", "data-label"}  # fmt: skip
    assert "default-src 'none'; style-src 'sha256-" in source
    assert re.findall(r"url\(|@import|https?://|style=", source) == []
    assert PLAIN.depth == []


@pytest.mark.parametrize("hostile", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_reasons_and_names_stay_text(hostile: str) -> None:
    """Each in every place where somebody else's text stands: the same elements as for plain words, nothing turned."""
    made = Record()
    for event in record().events:
        who = {key: value for key, value in (event["who"] or {}).items() if key != "salt"} or None
        if who is not None:
            who = {key: hostile if isinstance(value, str) else value for key, value in who.items()}
            who = {**who, **({"viewers": [hostile]} if who.get("viewers") else {})}
        data = {
            key: hostile if key in ("why", "cause", "purpose", "code") else value
            for key, value in event["data"].items()
        }
        made.add(event["at"][8:19], event["event"], event["window"], who, **data)
    wrong = {"ok": True, "events": 20, "expired": 0, "problems": []}
    source = page(made.events, site=hostile, version=hostile, verify=wrong)
    seen = Seen(source)
    assert sorted({*seen.tags}) == sorted({*PLAIN.tags})
    assert {name for name, _ in seen.attributes} == {name for name, _ in PLAIN.attributes}
    assert [character for character in source if not character.isprintable() and character != "\n"] == []
    shown = "".join(character if character.isprintable() else "\ufffd" for character in hostile)
    assert " ".join(shown.split()) in seen.words, "the control: it is there to be read"
    assert hostile not in source or html.escape(hostile) == hostile


@given(st.text())
def test_text_is_text(value: str) -> None:
    """Whatever it is, as content and as an attribute; markup passes as it is."""
    seen = Seen(tag("p", value, data_label=value))
    assert (seen.tags, {name for name, _ in seen.attributes}) == (["p"], {"data-label"})
    assert "".join(seen.said) == "".join(c if c.isprintable() else "\ufffd" for c in value)
    assert tag("p", Html("<b>x</b>")) == "<p><b>x</b></p>"
    assert text(Html("<b>")) == "<b>"


def test_expired_names_are_said_to_be() -> None:
    """Who, why and who watched are gone; that there was a window stays, with its times and bytes."""
    words = Seen(page([{**event, "who": None} for event in record().events])).words
    assert words.count("expired (12 months)") >= 8
    assert "Reason expired (12 months) Asked for by expired (12 months)" in words
    for name in ("admin", "anna", "carl", "laptop", "Plates"):
        assert name not in words.replace("Such", "")
    assert "9.3 MB" in words
    assert "cam1, cam2" in words


def test_what_is_wrong_with_the_chain_is_said_in_words() -> None:
    """In the box at the top."""
    problem = {"name": "edited", "line": 3, "why": "event 3 was changed after it was written"}
    wrong = {"ok": False, "events": 20, "expired": 3, "problems": [problem]}
    words = Seen(page(record().events, verify=wrong)).words
    assert "The record is NOT whole. The gateway names: edited : event 3 was changed after it was written" in words
    assert "The record is whole." not in words
    assert "Names and reasons of 3 events have expired" in words


def test_a_window_that_is_open_or_was_found_dead_is_shown() -> None:
    """Without an end, and without who left; and a picture without a join is a row."""
    words = Seen(page(record().events[:5])).words
    assert "still open when this was made" in words
    assert "no end recorded" in words
    made = record()
    made.add("29T10:00:00", "left", TWO, OTHER, joined=False, bytes=200_000)
    words = Seen(page(made.events)).words
    assert "without a join" in words
    assert "pictures went there, and nobody told of a viewer" in words


def test_no_event_and_values_of_no_shape_are_a_sheet() -> None:
    """Somebody edited the chain: the sheet is what shows it, so it must come out."""
    assert "None in this part of the record." in Seen(page([])).words
    made = Record()
    for name in ("opening", "joined", "left", "suspended", "refused", "cause", "closed"):
        odd = {
            key: ["x", {"y": None}]
            for key in ("cause", "why", "bytes", "cut_ms", "by", "minutes", "cameras", "purpose")
        }
        made.add("23T10:00:00", name, ONE, {"user": 7, "viewers": 3, "name": None, "node": ["n"]}, **odd)
    for event in made.events:
        event["at"] = "yesterday"
    assert "not a time: yesterday" in Seen(page(made.events)).words


def test_each_visit_has_its_row_and_nameless_ones_are_not_mixed_up() -> None:
    """Two visits of one device, and two without names of which nobody knows which ended."""
    made = Record().add("23T07:00:00", "opening", ONE, {"user": "ann"})
    for minute in (1, 3):
        made.add(f"23T07:0{minute}:00", "joined", ONE, VIEWER, by="page")
        made.add(f"23T07:0{minute + 1}:30", "left", ONE, VIEWER, bytes=minute)
    story = next(stories(made.events))
    assert [(visit.seconds, visit.bytes, visit.by) for visit in story.visits] == [(90.0, 1, "page"), (90.0, 3, "page")]
    nameless = Story(ONE)
    for name in ("joined", "joined", "left"):
        nameless.take({"event": name, "at": "2026-11-23T07:00:00+00:00", "data": {"bytes": 5}, "who": None})
    assert [(visit.joined is None, visit.left is None) for visit in nameless.visits] == [
        (False, True), (False, True), (True, False)]  # fmt: skip
