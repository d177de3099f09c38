"""The operators' link to the gateways, made worse."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lab import Lab


@contextmanager
def slow(lab: Lab, rate: str) -> Iterator[None]:
    """What leaves the operators' host by the VPN has this rate, in tc's words, such as `5mbit`."""
    ops = lab.host("ops")
    shape = ["tbf", "rate", rate, "burst", "64kb", "latency", "400ms"]
    ops.run(["tc", "qdisc", "add", "dev", "tailscale0", "root", *shape])
    try:
        yield
    finally:
        ops.run(["tc", "qdisc", "del", "dev", "tailscale0", "root"])
