"""The tailnet's policy made careless, for as long as a block runs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from lab import wait
from lab.control import other_policy
from tests.lab.window.site_under_test import Site

EVERYTHING = {"src": ["member@", "maintainer@"], "dst": ["tag:gateway"], "ip": ["*"]}
"""The VPN stops nobody: what is left is the gate."""


@contextlib.contextmanager
def granted(site: Site, *grants: dict[str, Any]) -> Iterator[None]:
    """These grants beside those of the policy."""
    with other_policy(site.lab, lambda policy: policy["grants"].extend(grants)):
        yield


@contextlib.contextmanager
def second_viewer(site: Site) -> Iterator[None]:
    """The member has every grant of the maintainer's, too; a window that is open has two viewers, or will have."""

    def share(policy: dict[str, Any]) -> None:
        for grant in policy["grants"]:
            if grant.get("src") == ["maintainer@"]:
                grant["src"] = ["maintainer@", "member@"]

    with other_policy(site.lab, share):
        yield


def wait_viewers(site: Site, *users: str) -> None:
    """Wait until these may watch in the open window, and nobody else."""

    def allowed() -> bool:
        window = site.status()["window"]
        return window is not None and {viewer["user"] for viewer in window["viewers"]} == set(users)

    wait.until(allowed, 20, f"the viewers are {' and '.join(users)}")
