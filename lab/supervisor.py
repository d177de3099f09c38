"""Process 1 of a lab: boots what belongs to it and boots again what was rebooted or cut off.

It is started in namespaces of its own (pid, mount, network), so whatever happens to it, the kernel takes everything
that it made. Talks to its starter over stdin and stdout, one JSON object a line: reports steps, then `ready` or
`error`. If the starter goes away before `ready` is acknowledged, the lab ends too.
"""

import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import network, plan
from lab.cgroups import Cgroup
from lab.gateway import Gateway
from lab.headscale import INITIAL_POLICY, Headscale
from lab.member import Member
from lab.paths import LabError, state_of
from lab.tailnet import can_reach
from lab.wait import until

_AT_A_TIME = 5  # gateways that boot together: more only made each of them slower


@dataclass(frozen=True)
class Order:
    """What the starter asks for."""

    name: str
    gateways: int
    push_delay_ms: int
    debian: list[int]
    layers: dict[str, list[str]]
    binaries: dict[str, str]


def main() -> None:
    """Process 1: reaps what nobody waits for, ends when the supervisor proper ends."""
    child = os.fork()
    if child == 0:
        try:
            Supervisor(Order(**json.loads(sys.argv[1]))).run()
        except Exception as error:
            _report({"error": f"{error}"})
            raise
        finally:
            os._exit(1)
    while True:
        pid, _ = os.wait()
        if pid == child:
            os._exit(0)


def _report(line: dict[str, Any]) -> None:
    try:
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        os._exit(1)


class Supervisor:
    """One lab, from its first mount to its end."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.state = state_of(order.name)
        self.cgroup = Cgroup(order.name)
        self.plans = {host.name: host for host in plan.hosts(order.gateways, order.debian)}
        self.started = time.monotonic()
        self.headscale = Headscale(Path(order.binaries["headscale"]), self.state / "control")

    def run(self) -> None:
        """Brings the lab up, then stays for ever."""
        threading.Thread(target=self._heed_starter, daemon=True).start()
        for file in self.cgroup.make("sup"):
            file.write_text("0")
        self._own_files()
        network.bridges(self.order.gateways)
        for host in self.plans.values():
            (self.state / host.name / "home").mkdir(parents=True, exist_ok=True)
            if not host.is_gateway:
                network.plug(host)
        self.step("network")
        key = self._ssh_key()
        gateways = [
            Gateway(host, self.state / host.name, self.cgroup, self.order.layers[str(host.debian)], key)
            for host in self.plans.values()
            if host.is_gateway
        ]
        members = [
            Member(host, self.state / host.name, self.order.binaries)
            for host in self.plans.values()
            if host.joins and not host.is_gateway
        ]
        with ThreadPoolExecutor(_AT_A_TIME) as pool:
            # headscale's start is the longest single thing, so everything else boots beside it.
            control = pool.submit(self._control)
            joined = dict(pool.map(lambda host: self._up(host, control), [*members, *gateways]))
            ops = next(member for member in members if member.plan.name == "ops")
            list(pool.map(lambda gateway: self._reachable(gateway, ops, joined), gateways))
        self._write(joined)
        _report({"ready": time.monotonic() - self.started})
        threading.Event().wait()

    def step(self, what: str) -> None:
        _report({"step": what, "at": time.monotonic() - self.started})

    def _heed_starter(self) -> None:
        if sys.stdin.readline() != "keep\n":
            os._exit(1)

    def _control(self) -> dict[str, str]:
        """headscale with policy, users and one key for each who joins: host name → key."""
        self.headscale.start(self.order.push_delay_ms)
        key = self.state / "api_key"
        key.touch(0o600)
        key.write_text(self.headscale.api_key)
        self.headscale.set_policy(INITIAL_POLICY)
        users = {host.user: self.headscale.add_user(host.user) for host in self.plans.values() if host.user}
        keys = {
            host.name: self.headscale.join_key(user_id=users[host.user] if host.user else None, tag=host.tag)
            for host in self.plans.values()
            if host.joins
        }
        self.step("headscale")
        return keys

    def _up(self, host: Gateway | Member, control: Any) -> tuple[str, tuple[str, str]]:
        host.start()
        addresses = host.join(control.result()[host.plan.name])
        self.step(f"{host.plan.name} {addresses[0]}")
        return host.plan.name, addresses

    def _reachable(self, gateway: Gateway, ops: Member, joined: dict[str, tuple[str, str]]) -> None:
        """Waits until `ops` reaches the gateway's ssh over the VPN."""
        name = gateway.plan.name
        address = joined[name][0]
        until(lambda: can_reach(gateway.status(), joined["ops"][0]), 20, f"{name} hearing of ops")
        until(lambda: can_reach(ops.status(), address), 20, f"ops hearing of {name}")
        until(lambda: network.answers_ssh("ops", address), 30, f"ssh of {name} over the VPN")

    def _own_files(self) -> None:
        """/run, resolv.conf and hosts of the lab's own.

        tailscaled in a plain namespace shares the machine's files and once rewrote its resolv.conf.
        """
        _mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
        for directory in ("/run/netns", "/run/systemd/nspawn", "/run/lock"):
            Path(directory).mkdir(parents=True)
        own = self.state / "etc"
        own.mkdir()
        (own / "resolv.conf").write_text("# The lab has no name server.\n")
        names = [f"{host.wan4} {host.name}\n{host.wan6} {host.name}\n" for host in self.plans.values() if host.wan4]
        (own / "hosts").write_text("127.0.0.1 localhost\n::1 localhost\n" + "".join(names))
        for name in ("resolv.conf", "hosts"):
            target = Path("/etc", name).resolve()
            if not target.exists() and target.is_relative_to("/run"):
                target.parent.mkdir(parents=True, exist_ok=True)
                target.touch()
            _mount("--bind", str(own / name), str(target))

    def _ssh_key(self) -> str:
        directory = self.state / "ssh"
        directory.mkdir()
        (self.state / "cm").mkdir(mode=0o700)
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ops", "-f", str(directory / "id_ed25519")]
        subprocess.run(words, check=True, capture_output=True, timeout=20)
        return (directory / "id_ed25519.pub").read_text()

    def _write(self, joined: dict[str, tuple[str, str]]) -> None:
        rows = {}
        for host in self.plans.values():
            vpn4, vpn6 = joined.get(host.name, (None, None))
            rows[host.name] = {**host.as_json(), "vpn4": vpn4, "vpn6": vpn6}
        data = {
            "name": self.order.name,
            "state": str(self.state),
            "headscale_url": plan.CONTROL_URL,
            "api_key_file": str(self.state / "api_key"),
            "ssh_key_file": str(self.state / "ssh" / "id_ed25519"),
            "binaries": self.order.binaries,
            "hosts": rows,
        }
        temporary = self.state / "lab.json.new"
        temporary.write_text(json.dumps(data, indent=1))
        temporary.rename(self.state / "lab.json")


def _mount(*words: str) -> None:
    done = subprocess.run(["mount", *words], capture_output=True, text=True, timeout=20, check=False)
    if done.returncode:
        raise LabError(f"mount {' '.join(words)}: {done.stderr.strip()}")


if __name__ == "__main__":
    main()
