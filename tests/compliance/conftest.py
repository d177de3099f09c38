"""The suite looks at gateways, through `ansible-playbook ansible/playbooks/compliance.yml`."""

from __future__ import annotations

import pytest

from tests.compliance.gateway import Gateway
from tests.compliance.suite import Recorder


@pytest.fixture
def gateway(request: pytest.FixtureRequest) -> Gateway:
    """The one under test. Without the playbook there is none."""
    for plugin in request.config.pluginmanager.get_plugins():
        if isinstance(plugin, Recorder) and plugin.gateway is not None:
            return plugin.gateway
    pytest.skip("needs gateways: ansible-playbook ansible/playbooks/compliance.yml")
