"""The agent's parts as they are wired at its start: what the observer is given is what the rest works with."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import pytest

from sightglass.adapters import sockets
from sightglass.adapters.sockets import Sockets
from sightglass.config import Config
from sightglass.facts import Listener
from sightglass.main import assemble
from sightglass.observer import Subject
from sightglass.window import Purpose
from tests.unit.observer_parts import USERS
from tests.unit.test_config import GOOD

SUBJECT = Subject(("cam1",), Purpose.DEBUG, frozenset(), None)


@pytest.mark.requirement("A1")
@pytest.mark.parametrize("name", USERS)
def test_a_listener_of_any_user_of_ours_is_seen(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """On whatever port, by the guard and before a window counts as gone; another user's (the control) is not ours."""
    ours, others = (Listener("tcp", "127.0.0.1", 9997, uid) for uid in (USERS[name], 1000))

    def read(uids: Collection[int], _ports: Collection[int]) -> Sockets:
        return Sockets(frozenset(each for each in (ours, others) if each.uid in uids), frozenset())

    monkeypatch.setattr(sockets, "read", read)
    observer = assemble(Config.model_validate(GOOD), USERS, lambda: None)[0].observer
    assert asyncio.run(observer.left_listening()) == {ours}
    asyncio.run(observer.look())
    exposure = observer.facts(SUBJECT, disabled=False).exposure
    assert exposure is not None
    assert exposure.listeners == {ours}
    assert exposure.users == set(USERS.values())


@pytest.mark.requirement("N2")
def test_the_frame_rate_that_a_heartbeat_carries_is_judged() -> None:
    """What listens to the lanes tells the watch that the observer asks."""
    lane = {**GOOD["lanes"]["lane1"], "fps_path": "fps", "fps_min": 8}
    config = Config.model_validate({**GOOD, "lanes": {"lane1": lane}})
    parts, lanes = assemble(config, USERS, lambda: None)
    lanes.take(lane["heartbeat_topic"], b'{"fps": 7.5}', retained=False)
    assert [strain.seen for strain in parts.observer.facts(SUBJECT, disabled=False).load] == [7.5]
    assert parts.observer.heard() is lanes.lanes
