"""Who lives in a lab, and at which addresses. Pure."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

MAX_GATEWAYS = 40  # 50 + N must stay an octet, and one machine carries no more anyway
DEBIANS = frozenset({12, 13})
CONTROL_URL = "http://10.77.0.1:8080"
PROBE_PORT = 7999  # open to the VPN members on gateways, and nothing listens there: where a probe shows that it works
BRIDGE4 = "10.77.0.254"  # the supervisor's own address on the WAN, from which it talks to headscale

_WAN_LAST = {"control": 1, "ops": 2, "maintainer": 3, "member": 4, "wan": 5}
_TAGS = {"ops": "tag:ops"}
_USERS = {"maintainer": "maintainer", "member": "member"}


@dataclass(frozen=True)
class HostPlan:
    """One host: its addresses (without prefix length), and how it joins the VPN (`tag` or `user`)."""

    name: str
    wan4: str | None = None
    wan6: str | None = None
    lan4: str | None = None
    lan6: str | None = None
    site: int | None = None
    tag: str | None = None
    user: str | None = None
    debian: int | None = None

    @property
    def is_gateway(self) -> bool:
        return self.name.startswith("gw")

    @property
    def joins(self) -> bool:
        return self.tag is not None or self.user is not None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def releases(gateways: int, debian: Sequence[int]) -> list[int]:
    """Which Debian each gateway has: those of `debian` in turn."""
    return [debian[n % len(debian)] for n in range(gateways)]


def hosts(gateways: int, debian: Sequence[int] = (12,)) -> list[HostPlan]:
    """The hosts of a lab with `gateways` gateways (1 to MAX_GATEWAYS)."""
    plain = [
        HostPlan(name, f"10.77.0.{last}", f"fd77::{last}", tag=_TAGS.get(name), user=_USERS.get(name))
        for name, last in _WAN_LAST.items()
    ]
    gws = [
        HostPlan(
            f"gw{n}",
            f"10.77.0.{10 + n}",
            f"fd77::{10 + n}",
            f"192.168.{50 + n}.1",
            f"fd77:{n}::1",
            site=n,
            tag="tag:gateway",
            debian=release,
        )
        for n, release in enumerate(releases(gateways, debian), 1)
    ]
    lan = HostPlan("lan", lan4="192.168.51.2", lan6="fd77:1::2", site=1)
    return [*plain, *gws, lan]
