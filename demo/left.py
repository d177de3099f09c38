"""What of a window is on a gateway, by the kernel's word."""

from __future__ import annotations

import json

from lab.host import Host

PORTS = (8550, 8554, 8800, 8889, 8189)
SETS = ("lease4", "lease6", "own4", "own6", "open")


class Unbelievable(Exception):  # noqa: N818 - a control that fails, not a fault of this program
    """A list does not show what must be in it: then what it does not show proves nothing."""


def left(gateway: Host) -> list[str]:
    """Processes, listeners and leases of a window. Empty is closed.

    Each list is taken with its own control; raises Unbelievable when that fails, HostError when a command does.
    """
    processes = gateway.run(["ps", "-eo", "user:32=,pid=,comm="]).stdout.splitlines()
    if not any(line.split()[0] == "mosquitto" for line in processes):
        raise Unbelievable("ps does not show the site's broker")
    listeners = gateway.run(["ss", "-Hltun"]).stdout.splitlines()
    if not any(":22 " in line for line in listeners):
        raise Unbelievable("ss does not show the site's ssh")
    table = json.loads(gateway.run(["nft", "-j", "list", "table", "inet", "sightglass"]).stdout)["nftables"]
    sets = {row["set"]["name"]: row["set"].get("elem", []) for row in table if "set" in row}
    if not sets.keys() >= set(SETS):
        raise Unbelievable("nft does not show the sets of our table")
    return [
        *(line for line in processes if line.startswith("sightglass-")),
        *(line for line in listeners if any(f":{port} " in line for port in PORTS)),
        *(f"{name}: {sets[name]}" for name in SETS if sets[name]),
    ]
