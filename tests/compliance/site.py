"""What the inventory says of one gateway that the suite must know: its own listeners, and the ports of a window."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from tests.compliance.listeners import Listener
from tests.compliance.outcome import NotAssessed

ROLES = Path(__file__).parents[2] / "roles"
LISTENERS = "sightglass_compliance_listeners"


def _place(where: str) -> str:
    if where in ("any", "loopback", "vpn"):
        return where
    try:
        return str(ipaddress.ip_address(where))
    except ValueError:
        raise ValueError("must be any, loopback, vpn or an address") from None


Port = Annotated[int, Field(ge=1, le=65535, strict=True)]


class Known(BaseModel):
    """Listeners that the site knows of. `where` any: on all addresses; `unit`: who holds the socket, as owner_of names
    it; `port` any, on loopback and VPN only: of a program that chooses one each time."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    protocol: Literal["tcp", "udp"]
    family: Literal[4, 6, "any"] = "any"
    where: Annotated[str, AfterValidator(_place)]
    port: Port | Literal["any"]
    unit: Annotated[str, Field(pattern=r"^(no unit|[^\s/]{1,255}\.(service|socket|scope)|/\S{1,1023})$")]

    def covers(self, seen: Listener) -> bool:
        """Whether that is the one."""
        return (
            (self.protocol, self.where, self.unit) == (seen.protocol, seen.where, seen.unit)
            and self.family in ("any", seen.family)
            and self.port in ("any", seen.port)
        )


class Site(BaseModel):
    """The inventory's variables about one gateway, with the roles' defaults where it says nothing."""

    model_config = ConfigDict(frozen=True)

    sightglass_compliance_listeners: list[Known]
    sightglass_nftables_interface: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,15}$")]
    sightglass_agent_cameras: dict[str, Any] = {}

    def camera(self) -> str:
        """The first one. Raises NotAssessed when the inventory names none."""
        for name in self.sightglass_agent_cameras:
            return name
        raise NotAssessed("sightglass_agent_cameras: must name a camera to open a window of, and is missing or empty")

    @property
    def interface(self) -> str:
        """The VPN's."""
        return self.sightglass_nftables_interface

    def strangers(self, found: set[Listener]) -> set[Listener]:
        """Those that the site does not know of."""
        return {one for one in found if not any(known.covers(one) for known in self.sightglass_compliance_listeners)}

    def window(self) -> set[Listener]:
        """What a window adds: its ports on the VPN, and the join check on loopback."""
        gate, server = constants("sightglass_nftables"), constants("sightglass_mediamtx")
        streams, unit = set(server["tcp_ports"]), "sightglass-mediamtx.service"
        console = set(gate["tcp_ports"]) - streams
        return {
            *(Listener("tcp", 4, "vpn", port, unit) for port in streams),
            *(Listener("udp", 4, "vpn", port, unit) for port in server["udp_ports"]),
            *(Listener("tcp", 4, "vpn", port, "sightglass-console.service") for port in console),
            Listener("tcp", 4, "loopback", gate["hook_port"], "sightglass-agent.service"),
        }


def site_of(variables: Mapping[str, Any]) -> Site:
    """Raises NotAssessed with one sentence that names the variable, the rule and the value."""
    known = variables.get(LISTENERS)
    if known is None:
        raise NotAssessed(f"{LISTENERS}: must list what the site itself listens on, and is missing")
    try:
        found = Site.model_validate({**_read("sightglass_nftables", "defaults"), **variables})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        named = [str(part) for part in first["loc"] if part not in ("int", "literal['any']", "constrained-int")]
        name = named[0] + "".join(f"[{part}]" if part.isdigit() else f".{part}" for part in named[1:])
        value = json.dumps(first["input"], default=str)
        raise NotAssessed(f"{name}: {first['msg'].removeprefix('Value error, ')}, not {value}") from None
    for number, each in enumerate(found.sightglass_compliance_listeners):
        if each.port == "any" and each.where not in ("vpn", "loopback"):
            raise NotAssessed(f"{LISTENERS}[{number}].port: must be a number, not any, where it is {each.where}")
    return found


def constants(role: str) -> dict[str, Any]:
    """What a role has that no inventory can change, by the names that follow the role's own."""
    prefix = f"__{role}_"
    return {name.removeprefix(prefix): value for name, value in _read(role, "vars").items() if name.startswith(prefix)}


def _read(role: str, part: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROLES / role / part / "main.yml").read_text())
    return found
