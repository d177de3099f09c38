"""The compliance check runs on gateways over ssh: `pytest tests/compliance --hosts=ansible://gateways --sudo …`."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def over_ssh(request: pytest.FixtureRequest) -> None:
    """Without `--hosts` testinfra would look at the machine that runs the tests."""
    if not request.config.getoption("--hosts"):
        pytest.skip("needs gateways: --hosts=ansible://gateways --ansible-inventory=… --sudo")
