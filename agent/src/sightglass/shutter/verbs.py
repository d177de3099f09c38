"""What may be said to the shutter: a table of verbs with exact shapes and bounds. Pure; knows no policy.

One JSON object a line. `parse` returns a verb or raises `ProtocolError` with one sentence, whatever the bytes. (Named
tuples here: importing dataclasses would cost the start of a window 8 ms.)
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_LINE = 4096
"""Bytes of one line, its newline included."""
MAX_VIEWERS = 64
MAX_SECONDS = 15
"""The longest lease; the nft sets have the same default, and the shutter waits no longer for its first renewal."""
_LONGEST_ADDRESS = 45


class ProtocolError(ValueError):
    """The peer said something that is not in the table. Ends the connection and the process, closed."""


class Renew(NamedTuple):
    """The whole desired state: this host's VPN addresses (one or two, one a family), the viewers, seconds of lease."""

    own: tuple[Address, ...]
    viewers: frozenset[Address]
    seconds: int


class Close(NamedTuple):
    """Cut and end."""


Verb: TypeAlias = Renew | Close


def _address(field: str, value: object) -> Address:
    if not isinstance(value, str) or len(value) > _LONGEST_ADDRESS:
        raise ProtocolError(f"{field} must hold addresses as text, got {str(value)[:50]!r}")
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        raise ProtocolError(f"{field} must hold IP addresses, got {value!r}") from None
    special = address.is_loopback or address.is_multicast or address.is_unspecified or address.is_link_local
    if isinstance(address, ipaddress.IPv6Address):
        special = special or address.scope_id is not None or address.ipv4_mapped is not None
    if special or address == ipaddress.IPv4Address("255.255.255.255"):
        raise ProtocolError(f"{field} must hold plain unicast addresses, got {value!r}")
    return address


def _addresses(field: str, value: object, fewest: int, most: int) -> tuple[Address, ...]:
    if not isinstance(value, list) or not fewest <= len(value) <= most:
        raise ProtocolError(f"{field} must be a list of {fewest} to {most} addresses")
    return tuple(_address(field, item) for item in value)


def _own(value: object) -> tuple[Address, ...]:
    own = _addresses("own", value, 1, 2)
    if len({address.version for address in own}) != len(own):
        raise ProtocolError("own must hold one address a family")
    return own


def _viewers(value: object) -> frozenset[Address]:
    return frozenset(_addresses("viewers", value, 0, MAX_VIEWERS))


def _seconds(value: object) -> int:
    # bool is an int to Python.
    if type(value) is not int or not 1 <= value <= MAX_SECONDS:
        raise ProtocolError(f"seconds must be a whole number from 1 to {MAX_SECONDS}")
    return value


_Fields: TypeAlias = Mapping[str, Callable[[object], Any]]
VERBS: Mapping[str, tuple[type[Renew] | type[Close], _Fields]] = MappingProxyType(
    {
        "renew": (Renew, MappingProxyType({"own": _own, "viewers": _viewers, "seconds": _seconds})),
        "close": (Close, MappingProxyType({})),
    }
)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Refuses a key that stands twice: two readers could take different ones."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ProtocolError("a key stands twice")
    return found


def parse(line: bytes) -> Verb:
    """The verb in one line (at most `MAX_LINE` bytes with its newline). Raises `ProtocolError` and nothing else."""
    if len(line) > MAX_LINE:
        raise ProtocolError(f"a line must not exceed {MAX_LINE} bytes")
    try:
        said = json.loads(line.decode("utf-8"), object_pairs_hook=_unique)
    except ProtocolError:
        raise
    except (ValueError, RecursionError):
        raise ProtocolError("a line must be one JSON object in UTF-8") from None
    if not isinstance(said, dict):
        raise ProtocolError("a line must be one JSON object")
    name = said.pop("verb", None)
    if not isinstance(name, str) or name not in VERBS:
        raise ProtocolError(f"verb must be one of {', '.join(VERBS)}, got {str(name)[:50]!r}")
    kind, fields = VERBS[name]
    if said.keys() != fields.keys():
        raise ProtocolError(f"{name} must have exactly the fields {', '.join(fields) or 'none'}")
    verb = kind(**{field: check(said[field]) for field, check in fields.items()})
    if isinstance(verb, Renew) and verb.viewers.intersection(verb.own):
        raise ProtocolError("viewers must not hold an own address")
    return verb
