"""Labs for the tests. The machine must let us: root, and the tools that `lab up` installs."""

import os
import subprocess
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from lab import Lab
from lab.compiled import compile_once
from lab.fleet import down
from lab.paths import LabError
from tests.lab.converged import converged, site
from tests.lab.turns import turn

__all__ = ["converged", "fresh_lab", "lab", "site"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything beside this file needs the fleet: one marker for all of it, so that nobody forgets it.

    What is about the lab itself comes first, while its gateway is blank. What needs the machine alone comes last: the
    first test of a worker that needs a converged gateway would keep the other from going on for minutes.
    """
    alone = {item.path for item in items if item.get_closest_marker("alone")}
    items.sort(key=lambda item: (item.path.parent != Path(__file__).parent, item.path in alone))
    for item in items:
        if "/tests/lab/" in str(item.path):
            item.add_marker(pytest.mark.lab)
            # The labs of two workers converge at the same time, which took longer; converge() has its own deadline.
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(300, func_only=True))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Beside another worker's tests, its fixtures' time included, or alone: an installation there is felt here."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return (yield)
    place: Path = item.config._tmp_path_factory.getbasetemp().parent  # type: ignore[attr-defined] # the run's, not the worker's
    with turn(place, alone=item.get_closest_marker("alone") is not None):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that fails shows what the gateway said meanwhile: a window that ended under it names its cause there."""
    report = yield
    shared = getattr(item, "funcargs", {}).get("converged")
    if report.failed and isinstance(shared, Lab):
        # Not its -n: together with --since, Debian 12's journalctl shows the oldest of them.
        words = ["journalctl", "--no-pager", "-q", "-o", "short-precise", "--since", "-2min", "-u", "sightglass-*"]
        try:
            lines = shared.host("gw1").run(words, check=False).stdout.splitlines(keepends=True)
            said = "".join(lines[-60:])
        except (LabError, subprocess.TimeoutExpired) as no:
            said = str(no)
        report.sections.append(("what our units on gw1 said", said))
    return report


def _name() -> str:
    """The lab of this session: each worker of a run has one of its own."""
    return os.environ.get("LAB_NAME", "test") + os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """gw1 with Debian 12, shared by all tests of the session, and gw2 with Debian 13 for what is about a fleet: leave
    them as you found them.

    With LAB_ATTACH=1 it is the running lab LAB_NAME, which stays up.
    """
    name = _name()
    if os.environ.get("LAB_ATTACH") == "1":
        yield Lab.attach(name)
        return
    down(name)
    with Lab.up(name, 2, debian=(12, 13)) as found:
        compile_once(found)
        yield found


@pytest.fixture
def fresh_lab() -> Iterator[Callable[..., Lab]]:
    """Call it for a lab of this test's own (`fresh_lab(gateways=2)`); it goes down with the test."""
    name = f"{_name()[-10:]}-fresh"
    down(name)

    def up(gateways: int = 1, *, push_delay_ms: int = 800) -> Lab:
        found = Lab.up(name, gateways, push_delay_ms=push_delay_ms)
        compile_once(found)
        return found

    yield up
    down(name)
