"""What a site declares for its input chain, and which sockets `ss` lists that nothing is said about: pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address, ip_network
from typing import Any

Rule = Mapping[str, Any]

# `ss -Hltunp`: Netid State Recv-Q Send-Q Local:Port Peer:Port [users:(("NAME",pid=N,fd=N),...)]
_LINE = re.compile(r"(?P<protocol>tcp|udp)\s+\S+\s+\d+\s+\d+\s+(?P<local>\S+):(?P<port>\d+)\s+\S+(?:\s+(?P<users>.*))?")
_WORDS = re.compile(r"[A-Za-z0-9._-][A-Za-z0-9 ._-]{0,63}")
_INTERFACE = re.compile(r"[A-Za-z0-9._@-]{1,15}")
_NAME = re.compile(r'\("((?:[^"\\]|\\.)*)",pid=')
# Who holds the socket of a port that Docker or Podman publishes, and has no other socket.
_PUBLISHERS = frozenset({"docker-proxy", "conmon"})
# Beside these the agent cannot bind its own. On another address, or on IPv6 alone, a port 8800 is the site's.
_AT_THE_HOOK = re.compile(r"(127\.0\.0\.1|\[::ffff:127\.0\.0\.1\]|0\.0\.0\.0|\*)(%\S+)?")


def _loopback(local: str) -> bool:
    address, _, interface = local.strip("[]").partition("%")
    try:
        found = ip_address(address.rstrip("]"))
    except ValueError:  # `*` is every address
        return interface == "lo"
    return interface == "lo" or (getattr(found, "ipv4_mapped", None) or found).is_loopback


def _parts(lines: Sequence[str]) -> list[re.Match[str]]:
    """The lines of `ss -Hltun`. Raises ValueError for one that is none: what cannot be read may be anybody's socket."""
    found = []
    for line in filter(None, map(str.strip, lines)):
        match = _LINE.fullmatch(line)
        if match is None:
            raise ValueError(f"ss gave a line that cannot be read: {line!r}")
        found.append(match)
    return found


def strangers(lines: Sequence[str], tcp: Sequence[object], udp: Sequence[object], hook: object) -> list[str]:
    """Whose socket in the lines of `ss -Hltune` has a port that the gate shuts, and is not one of our units.

    The gate lets nobody but our users to the ports `tcp` and `udp` on any address, and to `hook` on 127.0.0.1.
    """
    ports = {"tcp": {int(str(port)) for port in tcp}, "udp": {int(str(port)) for port in udp}}
    found = []
    for match in _parts(lines):
        port, rest = int(match["port"]), match["users"] or ""
        at_hook = match["protocol"] == "tcp" and port == int(str(hook)) and _AT_THE_HOOK.fullmatch(match["local"])
        if (port in ports[match["protocol"]] or at_hook) and not re.search(r"\bcgroup:\S*/sightglass-", rest):
            whose = re.search(r"\bcgroup:(\S+)", rest)
            found.append(f"{match['protocol']} {match['local']}:{port} of {whose[1] if whose else 'somebody'}")
    return list(dict.fromkeys(found))


def listening(lines: Sequence[str]) -> list[dict[str, Any]]:
    """The sockets in the lines of `ss -Hltunp` that others than this host itself may reach.

    Each has `protocol`, `address`, `port` (int) and `processes` (names, sorted; none for a socket of the kernel).
    Raises ValueError for a line that is none of ss: a socket that cannot be read may be anybody's.
    """
    found = []
    for match in _parts(lines):
        if not _loopback(match["local"]):
            processes = sorted(set(_NAME.findall(match["users"] or "")))
            found.append(
                {
                    "protocol": match["protocol"],
                    "address": match["local"],
                    "port": int(match["port"]),
                    "processes": processes,
                }
            )
    return found


def _ends(port: object) -> tuple[int, int]:
    """The first and the last port of a number or of FIRST-LAST."""
    first, _, last = str(port).partition("-")
    return int(first), int(last or first)


def _holds(rule: Rule, socket: Rule) -> bool:
    if rule["protocol"] != socket["protocol"]:
        return False
    if "process" in rule and rule["process"] not in socket["processes"]:
        return False
    if "port" not in rule:
        return "process" in rule
    first, last = _ends(rule["port"])
    return bool(first <= socket["port"] <= last)


def undeclared(lines: Sequence[str], allowed: Sequence[Rule], denied: Sequence[Rule], own: Sequence[str]) -> list[str]:
    """One line a socket that nothing is said about: what it is, where, and whose, in the order of ss.

    A rule has `protocol` and `port` (a number or `FIRST-LAST`); one that denies may have `process` instead or as well.
    `own` are the chain's own, each `PROTOCOL PORT`.
    """
    known = [dict(zip(("protocol", "port"), one.split(), strict=True)) for one in own]
    rules = [*allowed, *denied, *known]
    found = []
    for socket in listening(lines):
        if not any(_holds(rule, socket) for rule in rules):
            whose = ", ".join(socket["processes"]) or "no process (the kernel's own)"
            found.append(f"{socket['protocol']} {socket['address']}:{socket['port']} of {whose}")
    return list(dict.fromkeys(found))


def published(lines: Sequence[str], denied: Sequence[Rule]) -> list[str]:
    """A sentence for each socket that is denied and whose port a container engine publishes.

    The kernel leads such packets on to the container before any input chain: the port would stay open.
    """
    found = []
    for socket in listening(lines):
        if engines := sorted(_PUBLISHERS & set(socket["processes"])):
            what = f"{socket['protocol']} {socket['address']}:{socket['port']}"
            found += [
                f"{what} must not be denied ({rule['name']}): {engines[0]} publishes it for a container, and what "
                "is published is forwarded past the input chain and stays open. Publish it on 127.0.0.1, or not at all"
                for rule in denied
                if _holds(rule, socket)
            ]
    return list(dict.fromkeys(found))


def _port(value: object) -> str | None:
    # A leading zero is octal for nft.
    if not re.fullmatch(r"[1-9][0-9]{0,4}(-[1-9][0-9]{0,4})?", str(value)):
        return f"port must be a number or FIRST-LAST, not {value!r}"
    first, last = _ends(value)
    if not 1 <= first <= last <= 65535:
        return f"port must lie between 1 and 65535, the first not above the last, not {value!r}"
    return None


def _network(value: object) -> str | None:
    try:
        # A word that nft would look up in the DNS, or a list of them, is no network either.
        ip_network(value if isinstance(value, str) and "%" not in value else "", strict=True)
    except ValueError:
        return f"must be a network such as 192.0.2.0/24, with no bit set behind its length, not {value!r}"
    return None


def _fault(rule: object, *, denies: bool) -> str | None:
    """Why this is no rule, or None."""
    known = {"name", "protocol", "port", *(("process",) if denies else ("interfaces", "sources"))}
    if not isinstance(rule, Mapping):
        return f"must be a mapping, not {rule!r}"
    if unknown := sorted(set(map(str, rule)) - known):
        return f"has no setting {unknown[0]!r}; it may have {', '.join(sorted(known))}"
    if not _WORDS.fullmatch(str(rule.get("name", ""))):
        return f"name must be 1 to 64 letters, digits, spaces and . _ - only, not {rule.get('name')!r}"
    if rule.get("protocol") not in ("tcp", "udp"):
        return f"protocol must be tcp or udp, not {rule.get('protocol')!r}"
    by_process = denies and rule.get("process")
    if ("port" in rule or not by_process) and (fault := _port(rule.get("port"))):
        return fault
    for key in ("interfaces", "sources"):
        # A text would be taken letter by letter, and an empty value admits nobody.
        if key in rule and not (isinstance(rule[key], list) and rule[key]):
            return f"{key} must be a list that names at least one, not {rule[key]!r}"
    for interface in rule.get("interfaces", []):
        if not _INTERFACE.fullmatch(str(interface)):
            return f"interfaces must be names of at most 15 letters, digits and . _ - @, not {interface!r}"
    return next((f"sources {fault}" for one in rule.get("sources", []) if (fault := _network(one))), None)


def faults(declared: Mapping[str, Any], what: str) -> list[str]:
    """A sentence for each rule that is none; `declared` are lists by their variable's name, `what` is allow or deny."""
    found = []
    for name, rules in declared.items():
        if not isinstance(rules, Sequence) or isinstance(rules, str):
            found.append(f"{name} must be a list, not {rules!r}")
            continue
        for number, rule in enumerate(rules):
            if fault := _fault(rule, denies=what == "deny"):
                found.append(f"{name}[{number}] {fault}")
    return found


def contradictions(allowed: Sequence[Rule], denied: Sequence[Rule]) -> list[str]:
    """A sentence for each rule that allows what another denies: the chain only allows, and the port would stay open."""
    found = []
    for deny in denied:
        for allow in allowed:
            if "port" in deny and allow["protocol"] == deny["protocol"] and _meet(allow["port"], deny["port"]):
                what = f"{deny['protocol']} {deny['port']}"
                found.append(f"{what} must not be denied ({deny['name']}) and allowed ({allow['name']}) at once")
    return found


def _meet(one: object, other: object) -> bool:
    (first, last), (start, end) = _ends(one), _ends(other)
    return first <= end and start <= last


def network_faults(networks: Sequence[object], name: str) -> list[str]:
    """A sentence for each value that is no network."""
    return [f"{name}[{number}] {fault}" for number, one in enumerate(networks) if (fault := _network(one))]


def given_faults(given: Mapping[str, Any]) -> list[str]:
    """A sentence for each value of the role's own that would not be one word or number in the rules, by its name.

    `interfaces`, `ports` and `addresses` are lists by their variable's name, `sources` what serves pictures.
    """
    found = []
    for name, values in {**given["interfaces"], **given["ports"], **given["sources"], **given["addresses"]}.items():
        # A text would be taken letter by letter.
        if not isinstance(values, list):
            return [f"{name} must be a list, not {values!r}"]
    for name, interfaces in given["interfaces"].items():
        found += [
            f"{name} must be a name of at most 15 letters, digits and . _ - @, not {one!r}"
            for one in interfaces
            if not _INTERFACE.fullmatch(str(one))
        ]
    for name, ports in given["ports"].items():
        # Behind -e a number is a text.
        numbers = [int(port) if str(port).isdecimal() else 0 for port in ports]
        if not ports or len(set(numbers)) < len(numbers) or not all(1 <= number <= 65535 for number in numbers):
            found.append(f"{name} must be ports from 1 to 65535, each once, not {ports!r}")
    for name, sources in given["sources"].items():
        for number, source in enumerate(sources):
            # The feed's unit lets it go nowhere else, and the doctor says so of a camera that is elsewhere.
            if not _is(source["address"], loopback=True):
                found.append(
                    f"{name}[{number}] address must be one of the gateway's own loopback, not {source['address']!r}"
                )
            if not 1 <= source["port"] <= 65535:
                found.append(f"{name}[{number}] port must lie between 1 and 65535, not {source['port']!r}")
    for name, addresses in given["addresses"].items():
        found += [f"{name} must be numeric addresses, not {one!r}" for one in addresses if not _is(one)]
    return found


def _is(text: object, loopback: bool = False) -> bool:
    try:
        address = ip_address(str(text))
    except ValueError:
        return False
    # Behind a % an IPv6 address may have anything.
    return "%" not in str(text) and (address.is_loopback or not loopback)


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters of this file by name."""
        return {
            "sightglass_strangers": strangers,
            "sightglass_undeclared": undeclared,
            "sightglass_published": published,
            "sightglass_rule_faults": faults,
            "sightglass_network_faults": network_faults,
            "sightglass_given_faults": given_faults,
            "sightglass_contradictions": contradictions,
        }
