"""The site's own work comes first: what is measured of it, and when that ends a window."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from sightglass import guards
from sightglass.adapters.load import LoadWatch
from sightglass.config import Config
from sightglass.facts import Strain
from sightglass.verdict import Outcome
from tests.unit.test_config import GOOD
from tests.unit.test_guards import FACTS

LANE = {**GOOD["lanes"]["lane1"], "fps_path": "fps", "fps_min": 8}
CONFIG = Config.model_validate(
    {**GOOD, "lanes": {"lane1": LANE}, "load": {"round_trip_ms": 200, "unit": "vision.service", "pressure_percent": 40}}
)
PRESSURE = "some avg10={} avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"


class Site:
    """A watch over figures that the test sets, at a time that the test sets."""

    def __init__(self, root: Path) -> None:
        self.now = 100.0
        self.file = root / "vision.service" / "cpu.pressure"
        self.file.parent.mkdir()
        self.watch = LoadWatch(CONFIG, lambda: self.now, root)
        self.say()

    def say(self, fps: float | None = 10.0, answer_s: float | None = 0.001, pressure: str = "1.00") -> None:
        """The newest figures."""
        self.watch.rate("lane1", fps)
        self.watch.round_trip(answer_s)
        self.file.write_text(PRESSURE.format(pressure))

    def verdict(self) -> tuple[Outcome, str]:
        """What the guard makes of them."""
        said = guards.load(dataclasses.replace(FACTS, load=self.watch.strains()))
        return said.outcome, said.code


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.mark.requirement("N2")
def test_a_bad_moment_of_long_ago_does_not_go_on(site: Site) -> None:
    """Nobody measures between windows: a slow answer two hours ago and one now are two moments."""
    site.say(answer_s=0.25)
    site.now += 7200
    site.say(answer_s=0.25)
    assert site.verdict() == (Outcome.PASS, "ok")
    site.now += 3.5
    site.say(answer_s=0.25)
    assert site.verdict() == (Outcome.FAIL, "load"), "the control: from now on it counts"


@pytest.mark.requirement("N2")
@pytest.mark.parametrize(
    "bad", [{"fps": 7.9}, {"answer_s": 0.25}, {"pressure": "40.01"}], ids=["frame rate", "broker", "processor"]
)
def test_what_lasts_beyond_its_limit_ends_the_window(site: Site, bad: dict[str, object]) -> None:
    """Three seconds of it; a moment does not, and a good figure in between begins anew."""

    def step(at: float, **figures: object) -> str:
        site.now = at
        site.say(**figures)  # type: ignore[arg-type]
        return site.verdict()[1]

    assert step(100.0) == "ok", "the control"
    assert [step(101.0, **bad), step(103.9, **bad)] == ["ok", "ok"]
    assert step(104.0) == "ok"
    assert [step(105.0, **bad), step(107.9, **bad), step(108.1, **bad)] == ["ok", "ok", "load"]


@pytest.mark.requirement("N2")
def test_a_figure_that_is_not_to_be_had_is_unknown(site: Site) -> None:
    """The site asked for it, so nobody opens or renews without it."""
    site.say(fps=None)
    assert site.verdict() == (Outcome.UNKNOWN, "load-unknown")
    site.say()
    assert site.verdict()[0] is Outcome.PASS
    site.file.unlink()
    assert site.verdict() == (Outcome.UNKNOWN, "load-unknown")


@pytest.mark.requirement("N2")
def test_a_broker_that_is_gone_is_the_lane_guards_business(site: Site) -> None:
    """There is nothing that could be starved."""
    site.say(answer_s=None)
    assert site.verdict()[0] is Outcome.PASS


@pytest.mark.requirement("N2")
def test_the_sentence_names_figure_limit_and_time() -> None:
    """For the person who reads why the picture went."""
    strain = Strain("the broker's round trip in ms", 812.0, "at most 200", 10.0, 14.2)
    said = guards.load(dataclasses.replace(FACTS, load=(strain,))).why
    assert said == (
        "the broker's round trip in ms has been beyond its limit for 4 s, the site demands at most 200; it is 812"
    )
