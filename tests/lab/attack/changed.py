"""A protection taken away: one of the gateway's files with some of its text changed."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from tests.lab.pinned import pinned
from tests.lab.window.site_under_test import Site

RULES = "/etc/sightglass/nftables.nft"
"""The gate's; a window loads it when it opens."""


@contextlib.contextmanager
def replaced(site: Site, file: str, old: str, new: str) -> Iterator[None]:
    """One of the gateway's files with some of its text changed, for as long as the block runs."""
    text = site.gateway.run(["cat", file]).stdout
    changed, times = re.subn(old, new, text)
    assert times, f"{old!r} is not in {file}"
    copy = site.gateway.run(["mktemp", "/run/changed-XXXXXX"]).stdout.strip()
    site.gateway.run(["tee", copy], input=changed)
    site.gateway.run(["chmod", "0644", copy])
    site.gateway.run(["mount", "--bind", copy, file])
    try:
        with pinned(site.gateway, file):
            yield
    finally:
        site.gateway.run(["umount", file])
        site.gateway.run(["rm", copy])
