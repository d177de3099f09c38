"""One gateway over ssh, as the suite speaks of it: each answer was seen to be one, or nothing is said of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from testinfra.host import Host
from testinfra.utils.ansible_runner import get_ansible_config, get_ansible_host

from tests.compliance.listeners import Listener, listener
from tests.compliance.outcome import NotAssessed
from tests.compliance.site import Site

Seen = TypeVar("Seen")
WINDOW = ("sightglass-shutter", "sightglass-mediamtx", "sightglass-feed", "sightglass-console")
# A gateway that stops to answer in the middle must not hold the whole fleet's check.
SSH = "-o ServerAliveInterval=5 -o ServerAliveCountMax=3"
PATIENCE_S = 30


class Gateway:
    """Raises NotAssessed from each method when the gateway did not answer as it must."""

    def __init__(self, host: Host, site: Site) -> None:
        self.host = host
        self.site = site

    def run(self, command: str, *words: str) -> tuple[int, str, str]:
        """Exit code, output and complaints of a command, as root; each %s of it is one of the words."""
        try:
            done = self.host.run(command, *words)
        except RuntimeError as error:  # ssh's own 255; testinfra gives the whole result
            done = error.args[0]
            raise NotAssessed(f"ssh: {last(getattr(done, 'stderr', str(done))).removeprefix('ssh: ')}") from None
        return done.rc, done.stdout, done.stderr

    def output(self, command: str, *words: str) -> str:
        """The output of a command that must succeed."""
        code, out, complaints = self.run(command, *words)
        if code:
            raise NotAssessed(f"{command.partition(' ')[0]} ended with {code}: {last(complaints or out)}")
        return out

    def json(self, command: str, *words: str) -> Any:
        """The JSON that a command which must succeed wrote."""
        try:
            return json.loads(self.output(command, *words))
        except ValueError:
            raise NotAssessed(f"{command.partition(' ')[0]} gave no JSON") from None

    def must_be_root(self) -> None:
        """Everything here is asked as root: the owner of a socket is not shown to others."""
        code, out, complaints = self.run("id -u")
        if code or out.strip() != "0":
            raise NotAssessed(f"it does not let us be root: {last(complaints or f'uid {out.strip()}')}")

    def listeners(self) -> set[Listener]:
        """Every listening TCP and bound UDP socket."""
        links = self.json("ip -j address show")
        vpn = {row["local"] for link in links if link["ifname"] == self.site.interface for row in link["addr_info"]}
        try:
            return {listener(row, vpn) for row in self.output("ss -Hltun -e").splitlines() if row.strip()}
        except ValueError as error:
            raise NotAssessed(f"ss: {error}") from None

    def status(self) -> dict[str, Any]:
        """The agent's own word."""
        found: dict[str, Any] = self.json("sightglass status --json")
        return found

    def settled(self, look: Callable[[], Seen]) -> tuple[str, Seen]:
        """The agent's state, and what was seen while it did not change. Waits for others who open or close a window."""
        deadline = time.monotonic() + PATIENCE_S
        before = self.status()
        while True:
            seen = look()
            after = self.status()
            if after["state"] not in ("opening", "closing") and _same(before, after):
                return str(after["state"]), seen
            if time.monotonic() > deadline:
                raise NotAssessed(f"its window did not keep still for {PATIENCE_S} s (now {after['state']})")
            before = after

    def until_gone(self) -> list[str]:
        """Waits, bounded, until no process of a window runs; the units that still do."""
        deadline = time.monotonic() + PATIENCE_S
        units = [f"{name}.service" for name in WINDOW]
        while True:
            states = self.output(f"systemctl show -P ActiveState {' '.join(units)}").split()
            alive = [unit for unit, state in zip(units, states, strict=True) if state != "inactive"]
            if not alive or time.monotonic() > deadline:
                return alive
            time.sleep(0.1)


def _same(before: dict[str, Any], after: dict[str, Any]) -> bool:
    return all(before[name] == after[name] for name in ("state", "chain"))


def last(text: str) -> str:
    """The last line that says something: ssh and sudo put their warnings first."""
    return next((row.strip() for row in reversed(text.splitlines()) if row.strip()), "no reason was given")


def reach(name: str, variables: Mapping[str, Any], site: Site, sockets: str) -> Gateway:
    """A connection by the inventory's variables; `sockets` is a directory for ssh's. Raises NotAssessed."""
    if (method := variables.get("ansible_become_method", "sudo")) != "sudo":
        raise NotAssessed(f"ansible_become_method: must be sudo for this check, not {json.dumps(method)}")
    # Not local: the suite would look at the controller, and take it for the gateway.
    if (kind := variables.get("ansible_connection", "ssh")) not in ("ssh", "smart", "ansible.builtin.ssh"):
        raise NotAssessed(f"ansible_connection: must be ssh for this check, not {json.dumps(kind)}")
    given = {**variables, "ansible_become": True, "ansible_connection": "ssh"}
    common = [given.get(f"ansible_{part}") or "" for part in ("ssh_args", "ssh_common_args")]
    shared = f"-o ControlMaster=auto -o ControlPersist=10s -o ControlPath={sockets}/%C"
    shared = "" if "ControlPath" in " ".join(common) else shared
    asks = "" if given.get("ansible_ssh_pass") or given.get("ansible_password") else "-o BatchMode=yes"
    given["ansible_ssh_common_args"] = " ".join(part for part in (*common, shared, asks, SSH) if part)
    given["ansible_ssh_pass"] = given.get("ansible_ssh_pass") or given.get("ansible_password")
    inventory = {"all": {"hosts": [name]}, "_meta": {"hostvars": {name: given}}}
    found = Gateway(get_ansible_host(get_ansible_config(), inventory, name), site)
    found.must_be_root()
    return found
