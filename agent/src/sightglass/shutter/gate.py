"""What the shutter does with the kernel: our nft table's sets, and the sockets at our ports.

The table is loaded at boot by somebody else, and anew at the start of each window, from the same file. Then the shutter
demands that it stays the same one: with the table gone, replaced or changed, nobody knows what the rules let through.
"""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any, NamedTuple

from sightglass import netlink
from sightglass.shutter import addresses, sockdestroy
from sightglass.shutter.nft import Nft, NftError
from sightglass.shutter.verbs import Address, Renew

TABLE = "inet sightglass"
SETS = ("own4", "own6", "open", "lease4", "lease6")
_HOOKS = frozenset({"prerouting", "input", "output", "forward"})
# By name: nft 1.0.6 does not say in JSON which sets packets may fill.
_FIXED = frozenset({"tcp_ports", "udp_ports", "sources4", "sources6"})
_NFTABLES_GROUP = 1 << 6
_FLUSH = "\n".join(f"flush set {TABLE} {name}" for name in SETS)


class GateError(Exception):
    """The kernel is not in the state that a window needs."""


class Ports(NamedTuple):
    """Ours: what viewers are leased over TCP and UDP, and what the window's own processes reach on this host (TCP)."""

    tcp: tuple[int, ...]
    udp: tuple[int, ...]
    local: tuple[int, ...]

    def streams(self) -> tuple[int, ...]:
        """Every TCP port at which a connection may have to be destroyed."""
        return tuple(sorted({*self.tcp, *self.local}))


def elements(renew: Renew, ports: Ports) -> dict[str, frozenset[str]]:
    """What each set shall hold, as nft writes it."""
    leased = [*(f"tcp . {port}" for port in ports.tcp), *(f"udp . {port}" for port in ports.udp)]
    found = {"open": frozenset(f"tcp . {port}" for port in ports.local)}
    for family in (4, 6):
        found[f"own{family}"] = frozenset(str(address) for address in renew.own if address.version == family)
        viewers = [address for address in renew.viewers if address.version == family]
        found[f"lease{family}"] = frozenset(f"{address} . {port}" for address in viewers for port in leased)
    return found


def script(wanted: dict[str, frozenset[str]], seconds: int) -> str:
    """One transaction that makes the sets exactly what is `wanted`, for so long.

    An `add` on a live element does not extend it; after a flush in the same transaction it is a new one, and no packet
    sees the sets empty.
    """
    lines = [_FLUSH]
    for name, keys in wanted.items():
        if keys:
            timed = ", ".join(f"{key} timeout {seconds}s" for key in sorted(keys))
            lines.append(f"add element {TABLE} {name} {{ {timed} }}")
    return "\n".join(lines)


def _strangers(objects: list[dict[str, Any]], leased: dict[str, frozenset[str]]) -> list[str]:
    """Elements of our sets that no renewal has put there; those that have expired meanwhile are simply gone."""
    found = []
    for entry in objects:
        body = entry.get("set")
        if body is None or body["name"] not in SETS:
            continue
        for item in body.get("elem", []):
            key = _key(item["elem"]["val"] if isinstance(item, dict) and "elem" in item else item)
            if key not in leased.get(body["name"], frozenset()):
                found.append(f"{body['name']} {key}")
    return found


def _key(value: Any) -> str:
    """An element as `script` writes it. Without /etc/protocols nft prints numbers for them."""
    parts = value["concat"] if isinstance(value, dict) else [value]
    return " . ".join({"6": "tcp", "17": "udp"}.get(str(part), str(part)) for part in parts)


def _shape(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The table without what changes by itself: the elements that expire or that packets add."""
    shape = []
    for entry in objects:
        kind, body = next(iter(entry.items()))
        if kind == "set" and body["name"] not in _FIXED:
            body = {key: value for key, value in body.items() if key != "elem"}
        if kind != "metainfo":
            shape.append({kind: body})
    return shape


class Gate:
    """The open gate of one window. Every method raises GateError, NftError or OSError, and then the window must end."""

    def __init__(self, ports: Ports, interface: str, rules: Path) -> None:
        self._ports = ports
        self._interface = interface
        self._rules = rules
        self._viewers: frozenset[Address] = frozenset()
        self._leased: dict[str, frozenset[str]] = {}
        self._nft = Nft()
        # Bound before the table is looked at, so that no change falls between.
        self.changes = netlink.connect(netlink.NETFILTER, _NFTABLES_GROUP)
        self.changes.setblocking(False)
        self._table = ""

    def start(self) -> None:
        """Load the table as root's file has it, cut what a killed predecessor may have left, then check.

        Loaded, not compared: a table that somebody had gutted or put to sleep (`flags dormant`) between two windows
        looked whole, and opened.
        """
        self._nft.run(f'include "{self._rules}"')
        self.cut()
        self._drain()
        shape = _shape(self._nft.objects(f"list table {TABLE}"))
        self._check(shape)
        self._table = json.dumps(shape)

    def _check(self, shape: list[dict[str, Any]]) -> None:
        chains = {entry["chain"]["name"]: entry["chain"].get("hook") for entry in shape if "chain" in entry}
        ruled = {entry["rule"]["chain"] for entry in shape if "rule" in entry}
        if missing := _HOOKS - set(chains.values()):
            raise GateError(f"table {TABLE} has no chain at {', '.join(sorted(missing))}")
        if empty := chains.keys() - ruled:
            raise GateError(f"table {TABLE} has no rule in {', '.join(sorted(empty))}")
        guarded = {entry["set"]["name"]: entry["set"].get("elem", []) for entry in shape if "set" in entry}
        for name, wanted in (("tcp_ports", self._ports.streams()), ("udp_ports", self._ports.udp)):
            if unguarded := [str(port) for port in wanted if port not in guarded.get(name, [])]:
                raise GateError(f"table {TABLE} does not guard port {', '.join(unguarded)} ({name})")
        if json.dumps(self._interface) not in json.dumps(shape):
            raise GateError(f"table {TABLE} does not name the interface {self._interface}")

    def _drain(self) -> None:
        while True:
            try:
                self.changes.recv(1 << 16)
            except BlockingIOError:
                return
            except OSError as error:
                # More events than fit: what follows a drain is a look at the table itself.
                if error.errno != errno.ENOBUFS:
                    raise

    def verify(self) -> None:
        """The table must be the one of the start: same rules, same handles, no lease but ours. At each renewal and
        nftables event."""
        self._drain()
        try:
            objects = self._nft.objects(f"list table {TABLE}")
        except NftError:
            raise GateError(f"table {TABLE} is gone") from None
        if json.dumps(_shape(objects)) != self._table:
            raise GateError(f"table {TABLE} was changed or loaded again")
        if strangers := _strangers(objects, self._leased):
            raise GateError(f"table {TABLE} holds a lease that nobody gave: {strangers[0]}")

    def renew(self, renew: Renew) -> int:
        """Make the leases what `renew` says; returns how many sockets of viewers no longer named were destroyed."""
        strangers = set(renew.own) - addresses.on_interface(self._interface)
        if strangers:
            raise GateError(f"{', '.join(sorted(map(str, strangers)))} is no address of {self._interface}")
        wanted = elements(renew, self._ports)
        self._nft.run(script(wanted, renew.seconds))
        self._leased = wanted
        removed = self._viewers - renew.viewers
        self._viewers = renew.viewers
        destroyed = sockdestroy.destroy(self._ports.streams(), removed) if removed else 0
        self.verify()
        return destroyed

    def sent(self) -> dict[str, int]:
        """Bytes that each viewer was sent in this window, by address."""
        found = {}
        for name in ("sent4", "sent6"):
            for entry in self._nft.objects(f"list set {TABLE} {name}", counters=True):
                for item in entry.get("set", {}).get("elem", []):
                    found[str(item["elem"]["val"])] = int(item["elem"]["counter"]["bytes"])
        return found

    def cut(self) -> int:
        """Empty all leases, then, in any case, destroy every socket at our ports; returns how many."""
        try:
            self._nft.run(_FLUSH)
        finally:
            destroyed = sockdestroy.destroy(self._ports.streams())
        return destroyed
