"""Carries the requirement tags of each test into the JUnit report, from which the requirement table is made."""

from __future__ import annotations

import pytest
from hypothesis import settings

from tests.requirements import REQUIREMENTS

# An example's time says how busy the machine is, not whether the code is right.
settings.register_profile("repository", deadline=None)
settings.load_profile("repository")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """An unknown id is a typo, and a typo proves nothing."""
    for item in items:
        for mark in item.iter_markers("requirement"):
            if mark.args[0] not in REQUIREMENTS:
                raise pytest.UsageError(f"{item.nodeid}: there is no requirement {mark.args[0]!r}")
            item.user_properties.append(("requirement", mark.args[0]))
