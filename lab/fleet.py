"""A lab as an object: up, attach, reboot, power cut, down."""

import contextlib
import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from lab import enter, machine, plan, wait
from lab.cache import say
from lab.cgroups import Cgroup
from lab.headscale import DEFAULT_PUSH_DELAY_MS
from lab.host import Host
from lab.paths import CHECKOUT, LabError, state_of
from lab.plan import DEBIANS, MAX_GATEWAYS
from lab.tailnet import addresses, can_reach

_DYING_S = 1.0  # a lab whose `up` was killed a moment ago still holds its lock


def build(debian: Iterable[int] = (12,)) -> dict[str, Any]:
    """Installs the tools and builds what the cache lacks: `binaries` (paths by name), and `layers`, the directories of
    a gateway's read-only layers by its Debian, the upper one first."""
    from lab.binaries import all_binaries
    from lab.gold import gold
    from lab.rootfs import RELEASES, base

    machine.need_root()
    machine.need_tools()
    binaries = all_binaries()
    layers = {}
    for release in sorted(set(debian)):
        root = base(release)
        layers[str(release)] = [str(gold(root, RELEASES[release].python, binaries)), str(root)]
    return {"layers": layers, "binaries": {key: str(path) for key, path in binaries.items()}}


class Lab:
    """A running lab. `Lab.up` and `Lab.attach` make one; as a context manager it goes down at the end."""

    wait = wait

    def __init__(self, data: dict[str, Any]) -> None:
        self.name: str = data["name"]
        self.state = Path(data["state"])
        self.data = data
        keys = ("wan4", "wan6", "lan4", "lan6", "vpn4", "vpn6")
        self.hosts = {
            name: Host(self.name, name, **{key: row[key] for key in keys}) for name, row in data["hosts"].items()
        }

    @classmethod
    def up(
        cls,
        name: str = "lab",
        gateways: int = 1,
        *,
        push_delay_ms: int = DEFAULT_PUSH_DELAY_MS,
        debian: Sequence[int] = (12,),
    ) -> "Lab":
        """Builds what the cache lacks, then starts the lab `name`; returns when every member is on the VPN.

        The gateways get the releases of `debian` in turn.
        Raises LabError when it already runs, or when something it needs is not there.
        """
        if not 1 <= gateways <= MAX_GATEWAYS:
            raise LabError(f"gateways must be 1 to {MAX_GATEWAYS}, not {gateways}")
        if push_delay_ms < 1:
            raise LabError(f"push delay must be at least 1 ms, not {push_delay_ms}")
        if not debian or not set(debian) <= DEBIANS:
            raise LabError(f"debian must be of {', '.join(map(str, sorted(DEBIANS)))}, not {list(debian)}")
        state = state_of(name)
        parts = build(plan.releases(gateways, debian))
        lock = _own(name)
        try:
            order = {"name": name, "gateways": gateways, "debian": list(debian), "push_delay_ms": push_delay_ms}
            _start(name, {**order, **parts}, lock)
        except BaseException:
            _end(name)
            raise
        finally:
            os.close(lock)
        return cls(json.loads((state / "lab.json").read_text()))

    @classmethod
    def attach(cls, name: str = "lab") -> "Lab":
        """The lab `name`, which must be up."""
        try:
            return cls(json.loads((state_of(name) / "lab.json").read_text()))
        except FileNotFoundError:
            raise LabError(f"lab {name!r} is not up") from None

    def __enter__(self) -> "Lab":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    @property
    def gateways(self) -> list[Host]:
        return [host for host in self.hosts.values() if host.is_gateway]

    def host(self, name: str) -> Host:
        try:
            return self.hosts[name]
        except KeyError:
            raise LabError(f"there is no host {name!r} in lab {self.name!r}: it has {' '.join(self.hosts)}") from None

    def down(self) -> None:
        down(self.name)

    def reboot(self, name: str) -> None:
        """Reboots a gateway in an orderly way; returns when ssh answers and the VPN is back."""
        gateway = self._gateway(name)
        self._again(gateway, lambda: gateway.run(["systemctl", "reboot"], check=False, timeout=30))

    def power_cut(self, name: str) -> None:
        """Kills a gateway at once; returns when it has booted from the same disk and the VPN is back."""
        gateway = self._gateway(name)
        self._again(gateway, lambda: Cgroup(self.name).kill(name))

    @contextlib.contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """A gateway's processes stand still while the block runs; its kernel goes on."""
        part = self._gateway(name).name
        Cgroup(self.name).freeze(part, frozen=True)
        try:
            yield
        finally:
            Cgroup(self.name).freeze(part, frozen=False)

    @contextlib.contextmanager
    def unplugged(self, name: str) -> Iterator[None]:
        """A gateway has no WAN while the block runs, and with it no VPN."""
        cable, wires = f"w-{self._gateway(name).name}", Host(self.name, enter.WIRES)
        wires.run(["ip", "link", "set", cable, "down"])
        try:
            yield
        finally:
            wires.run(["ip", "link", "set", cable, "up"])

    @contextlib.contextmanager
    def bad_wire(self, name: str, delay_ms: float, loss_percent: float) -> Iterator[None]:
        """A gateway's WAN has so much delay each way, and loses so many of the packets, while the block runs."""
        words = [sys.executable, "-m", "lab.tools.badwire", f"w-{self._gateway(name).name}"]
        wires = Host(self.name, enter.WIRES)
        process = wires.popen(
            [*words, str(delay_ms), str(loss_percent)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=str(CHECKOUT),
        )
        try:
            if process.stdout is None or process.stdout.readline() != "ready\n":
                raise LabError(f"the wire of {name} cannot be made bad")
            yield
        finally:
            process.communicate(timeout=20)

    @contextlib.contextmanager
    def squeezed(self, name: str, room: int) -> Iterator[Callable[[], int]]:
        """A gateway has `room` bytes beside its processes' own memory while the block runs: programs are read from
        the disk again and again. Gives a count of how often something had to be dropped so far. Raises LabError where
        this machine cannot do that."""
        part, cgroup = self._gateway(name).name, Cgroup(self.name)
        try:
            cgroup.squeeze(part, room)
            yield lambda: cgroup.squeezes(part)
        finally:
            cgroup.squeeze(part, None)

    def forget_connections(self) -> None:
        """Ends the ssh masters of `ops`: the next connection to each gateway is a first one. One to a gateway that was
        rebooted hangs whoever reuses it."""
        sockets = list((self.state / "cm").iterdir())
        for socket in sockets:
            words = ["ssh", "-o", f"ControlPath={socket}", "-O", "exit", "any"]
            if self.host("ops").run(words, check=False, timeout=10).returncode != 0:
                socket.unlink(missing_ok=True)  # its master was killed
        wait.until(lambda: not any(socket.exists() for socket in sockets), 10, "no connection is kept")

    def _gateway(self, name: str) -> Host:
        host = self.host(name)
        if not host.is_gateway:
            raise LabError(f"{name} is a network namespace, not a machine that boots: only gateways do")
        return host

    def _again(self, gateway: Host, act: Callable[[], object]) -> None:
        cgroup = Cgroup(self.name)
        scope = f"{gateway.name}/payload/init.scope"
        before = cgroup.init_pid(scope)
        if before is None:
            raise LabError(f"{gateway.name} of lab {self.name!r} does not run")
        act()
        wait.until(lambda: cgroup.init_pid(scope) not in (before, None), 60, f"{gateway.name} booting again")
        ops = self.host("ops")
        wait.until(lambda: self._hears(gateway, ops), 30, f"{gateway.name} back on the VPN")
        self.forget_connections()
        # A packet from the side that lost its session: otherwise ops holds on to the old one for many seconds.
        gateway.run(["ping", "-c1", "-W1", str(ops.vpn4)], check=False)
        probe = 'exec 3<>"/dev/tcp/$1/22" && read -r -n4 -t1 word <&3 && [ "$word" = SSH- ]'
        words = ["timeout", "1", "bash", "-c", probe, "bash", str(gateway.vpn4)]
        wait.until(lambda: ops.run(words, check=False).returncode == 0, 30, f"ssh of {gateway.name} over the VPN")

    def _hears(self, gateway: Host, ops: Host) -> bool:
        status = json.loads(gateway.run(["tailscale", "status", "--json"]).stdout)
        return addresses(status) is not None and can_reach(status, str(ops.vpn4))


def down(name: str) -> bool:
    """Ends the lab and deletes what it left; False when there was nothing. Mends what a killed `up` left, too."""
    machine.need_root()
    state = state_of(name)
    if not state.exists() and not Cgroup(name).exists():
        return False
    _end(name)
    return True


def _end(name: str) -> None:
    cgroup = Cgroup(name)
    cgroup.kill()
    cgroup.remove()
    machine.release(state_of(name))


def _own(name: str) -> int:
    """Claims the name: an open, locked file that the supervisor inherits. Clears what a dead lab left."""
    state = state_of(name)
    end = time.monotonic() + _DYING_S
    while True:
        machine.claim(state)
        fd = os.open(state / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            if time.monotonic() < end:
                time.sleep(0.05)
                continue
            raise LabError(f"lab {name!r} is already up, or being started: `lab down --name {name}` ends it") from None
        if {entry.name for entry in state.iterdir()} == {"lock"} and not Cgroup(name).exists():
            return fd
        _end(name)
        os.close(fd)


def _start(name: str, order: dict[str, Any], lock: int) -> None:
    state = state_of(name)
    cgroup = Cgroup(name)
    join = " ".join(map(str, cgroup.make("init")))
    into = f'for f in {join}; do echo $$ >"$f"; done; exec "$@"'
    words = [
        *("setsid", "--fork", "sh", "-euc", into, "sh"),
        *("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private"),
        *(sys.executable, "-m", "lab.supervisor", json.dumps(order)),
    ]
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/root"}
    begun = time.monotonic()
    with (
        (state / "supervisor.log").open("ab") as log,
        subprocess.Popen(
            words, cwd=CHECKOUT, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, pass_fds=[lock]
        ) as starter,
    ):
        assert starter.stdin is not None
        assert starter.stdout is not None
        for raw in starter.stdout:
            line = json.loads(raw)
            if "error" in line:
                raise LabError(f"lab {name!r} did not come up: {line['error']}")
            if "ready" in line:
                with contextlib.suppress(BrokenPipeError):
                    starter.stdin.write(b"keep\n")
                    starter.stdin.flush()
                say(f"{time.monotonic() - begun:7.2f} s  lab {name} is up")
                return
            say(f"{line['at']:7.2f} s  {line['step']}")
        tail = (state / "supervisor.log").read_text()[-1500:]
        raise LabError(f"lab {name!r} did not come up: {tail}")
