"""How often the agent asks for a broker that is away, and how often it says so."""

from __future__ import annotations

import asyncio
import itertools

import aiomqtt
import pytest

from sightglass.adapters import broker

pytestmark = pytest.mark.requirement("F1")


class Lives:
    """Connections that last so many seconds each and end as told; afterwards this test is over."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *lasting: float, error: Exception | None) -> None:
        self.clock, self.lasting, self.error = 100.0, iter(lasting), error
        self.waited: list[float] = []
        self.told: list[int] = []
        self.news: list[bool] = []
        monkeypatch.setattr(asyncio, "sleep", self._sleep)

    async def _sleep(self, seconds: float) -> None:
        self.waited.append(seconds)
        self.clock += seconds

    async def _life(self, failures: int) -> None:
        lasted = next(self.lasting, None)
        if lasted is None:
            raise asyncio.CancelledError
        self.told.append(failures)
        self.clock += lasted
        if self.error is not None:
            raise self.error

    def _lost(self, _error: Exception, news: bool) -> None:
        self.news.append(news)

    def live(self) -> None:
        """Until no life is left."""
        with pytest.raises(asyncio.CancelledError):
            asyncio.run(broker.keep(self._life, self._lost, lambda: self.clock))


@pytest.mark.parametrize("error", [aiomqtt.MqttError("refused"), broker.Unfit("mqtt.ca_file: none")])
def test_a_broker_that_is_away_is_asked_less_and_less_often(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Half a second at first, ten at last, each a fifth more or less; it is said once."""
    lives = Lives(monkeypatch, *[0.01] * 8, error=error)
    lives.live()
    for waited, meant in zip(lives.waited, [0.5, 1, 2, 5, 10, 10, 10, 10], strict=True):
        assert 0.8 * meant <= waited <= 1.2 * meant
    assert lives.told == list(range(8))
    assert lives.news == [True] + [False] * 7


def test_no_two_gateways_ask_at_the_same_moments(monkeypatch: pytest.MonkeyPatch) -> None:
    """A site's broker that restarts hears them one after the other."""
    all_waited = []
    for _ in range(5):
        lives = Lives(monkeypatch, *[0.01] * 5, error=aiomqtt.MqttError("refused"))
        lives.live()
        all_waited.append(lives.waited)
    assert all(len(set(same)) == 5 for same in zip(*all_waited, strict=True))


def test_a_connection_that_lasted_makes_the_next_loss_news(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that broke at once does not: it is still the same trouble."""
    short, steady = broker.STEADY_S - 1, broker.STEADY_S + 1
    lives = Lives(monkeypatch, 0.01, short, steady, 0.01, error=aiomqtt.MqttError("gone"))
    lives.live()
    assert lives.news == [True, False, True, False]
    assert lives.waited[2] <= 0.6, "and the back-off begins anew"


def test_a_life_that_simply_ends_waits_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that hangs up without a word is not asked in a circle."""
    lives = Lives(monkeypatch, *[0.0] * 3, error=None)
    lives.live()
    assert [waited > 0.3 for waited in itertools.islice(lives.waited, 3)] == [True] * 3
