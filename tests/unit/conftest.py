"""The served API and the command beside it, as most tests of them want it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.api_parts import FakeAgent, served
from tests.unit.terminal import Terminal


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[FakeAgent, Path]]:
    """One served API for all tests that only ask; whoever uses it puts a new state behind it."""
    agent = FakeAgent()
    with served(agent) as path:
        yield agent, path


@pytest.fixture
def api(shared: tuple[FakeAgent, Path]) -> tuple[FakeAgent, Path]:
    """The same with a new agent behind it."""
    shared[0].__init__()  # type: ignore[misc] # a new state, the server keeps its port
    return shared


@pytest.fixture
def terminal(api: tuple[FakeAgent, Path], capsys: pytest.CaptureFixture[str]) -> Terminal:
    """A terminal beside it."""
    return Terminal(*api, capsys)


@pytest.fixture
def agent() -> FakeAgent:
    """Who answers in a server of this test alone."""
    return FakeAgent()


@pytest.fixture
def path(agent: FakeAgent) -> Iterator[Path]:
    """Where it answers."""
    with served(agent) as path:
        yield path
