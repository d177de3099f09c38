"""What listens on a gateway, by the kernel's word and any owner."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Listener:
    """One listening TCP or bound UDP socket; `where` is loopback, vpn, any, or the address itself; `unit` its owner's
    cgroup. `family` is that of the socket's address: one of 6 and any may take IPv4 too."""

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
    owner = re.search(r"cgroup:\S*?([^/\s]+)(?:\s|$)", line)
    where = (
        "loopback" if address.is_loopback
        else "vpn" if str(address) in vpn
        else "any" if address.is_unspecified
        else str(address)
    )  # fmt: skip
    return Listener(protocol, address.version, where, int(port), owner[1] if owner else "no unit")
