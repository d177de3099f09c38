"""A window that is open for all tests of a file which leave it as it is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab import Lab
from tests.lab.window.site_under_test import Site


@pytest.fixture(scope="module")
def opened(converged: Lab) -> Iterator[Site]:
    """One window for those tests of this file that leave it as it is."""
    site = Site(converged, converged.host("gw1"), converged.host("maintainer"))
    site.lane("idle")
    site.wait_guards()
    window = site.open(minutes=10)
    yield site
    site.close()
    # A window that ended under a test made it fail for another reason than its own.
    assert site.cause(window["id"]) == "closed", site.events(window["id"])
    site.wait_closed()
    site.verify()
