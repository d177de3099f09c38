"""What listens on a gateway, by the kernel's word and any owner."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

_SYSTEM_UNIT = re.compile(r"/system\.slice/(?:[^/]+\.slice/)*([^/]+\.(?:service|socket|scope))(?:/.*)?")


@dataclass(frozen=True, order=True)
class Listener:
    """One listening TCP or bound UDP socket; `where` is loopback, vpn, any, or the address itself; `unit` its owner, as
    owner_of names it. `family` is that of the socket's address: one of 6 and any may take IPv4 too."""

    protocol: str
    family: int
    where: str
    port: int
    unit: str

    def __str__(self) -> str:
        return f"{self.protocol} port {self.port} on {self.where} (IPv{self.family}) of {self.unit}"


def listener(line: str, vpn: set[str]) -> Listener:
    """One line of `ss -Hltun -e`; `vpn` are the addresses of the VPN's interface. Raises ValueError."""
    fields = line.split()
    if len(fields) < 6:
        raise ValueError(f"no line of ss: {line!r}")
    protocol, local = fields[0], fields[4]
    name, _, port = local.rpartition(":")
    address = ipaddress.ip_address("::" if name == "*" else name.partition("%")[0].strip("[]"))
    address = getattr(address, "ipv4_mapped", None) or address
    cgroup = re.search(r"\scgroup:(\S+)", line)
    where = (
        "loopback" if address.is_loopback
        else "vpn" if str(address) in vpn
        else "any" if address.is_unspecified
        else str(address)
    )  # fmt: skip
    return Listener(protocol, address.version, where, int(port), owner_of(cgroup[1] if cgroup else "/"))


def owner_of(cgroup: str) -> str:
    """Who holds a socket, by its cgroup: a unit of the system by its name, the kernel as `no unit`, all else by the
    whole path. A user's own service manager and a container's name their units as they like."""
    unit = _SYSTEM_UNIT.fullmatch(cgroup)
    return unit[1] if unit else "no unit" if cgroup == "/" else cgroup
