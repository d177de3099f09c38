"""The observer as unit tests want it."""

from __future__ import annotations

from pathlib import Path

from sightglass.adapters import clock
from sightglass.adapters.lanes import LaneListener
from sightglass.adapters.load import LoadWatch
from sightglass.adapters.pins import Pins
from sightglass.adapters.tailnet import Tailnet
from sightglass.config import Config, Mqtt
from sightglass.observer import Observer
from tests.unit.test_config import GOOD

CONFIG = Config.model_validate(GOOD)


def listener(config: Config, load: LoadWatch) -> LaneListener:
    """What listens to this site's lanes, without a broker."""
    return LaneListener(Mqtt(port=1), "lanes", config.lanes, clock.boottime, lambda: None, load.rate)


def observer(
    place: Path,
    *,
    config: Config = CONFIG,
    tailnet: Tailnet | None = None,
    load: LoadWatch | None = None,
    lanes: LaneListener | None = None,
    users: frozenset[int] = frozenset({99_999}),
) -> Observer:
    """An observer: what is not given is not there. Its files are in `place`."""
    watch = load or LoadWatch(config, clock.boottime)
    return Observer(
        config=config,
        tailnet=tailnet or Tailnet(str(place / "no-socket"), "lo", "example/cap"),
        lanes=lanes or listener(config, watch),
        load=watch,
        pins=Pins(place / "pins.d", place),
        users=users,
        server_config=place / "mediamtx.yml",
        changed=lambda: None,
    )
