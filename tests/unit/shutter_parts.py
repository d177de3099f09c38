"""A gateway, a VPN peer and a LAN host as network namespaces, and the real shutter in the first.

The namespaces have no name and live as long as a `cat` that reads from this process, so nothing outlives it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import jinja2
import pytest
import yaml

ROOT = Path(__file__).parents[2]
ROLE = ROOT / "roles/sightglass_nftables"
NAMES = ("sightglass", "sightglass-shutter", "sightglass-feed", "sightglass-mediamtx", "sightglass-console")
UIDS = {name: 61001 + index for index, name in enumerate(NAMES)}
AGENT, SHUTTER, FEED, STREAM, CONSOLE = UIDS.values()
PYTHON = "/usr/bin/python3"
OWN4, OWN6 = "100.64.0.1", "fd7a:115c:a1e0::1"
VIEWER4, VIEWER6 = "100.64.0.2", "fd7a:115c:a1e0::2"
MEMBER4, MEMBER6 = "100.64.0.3", "fd7a:115c:a1e0::3"
LAN_GW4, LAN4 = "192.168.50.1", "192.168.50.20"
NOBODY = 65534
T = TypeVar("T")


def _cannot() -> str:
    """Why these tests cannot run here, or nothing."""
    if os.geteuid() != 0:
        return "needs root: makes network namespaces and loads nftables rules in them"
    missing = [tool for tool in ("nft", "ip", "unshare", "nsenter", "setpriv", PYTHON) if shutil.which(tool) is None]
    return f"needs {', '.join(missing)}" if missing else ""


needs_kernel = pytest.mark.skipif(bool(_cannot()), reason=_cannot() or "can run")


def until(what: str, look: Callable[[], T], deadline_s: float = 5.0) -> T:
    """The first true value of `look`; raises TimeoutError naming `what`."""
    end = time.monotonic() + deadline_s
    while not (found := look()):
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {deadline_s} s")
        time.sleep(0.01)
    return found


def settings(role: Path) -> dict[str, Any]:
    """A role's constants and defaults by name."""
    found: dict[str, Any] = {}
    for part in ("vars", "defaults"):
        file = role / part / "main.yml"
        found |= yaml.safe_load(file.read_text()) if file.exists() else {}
    return {name: value for name, value in found.items() if "{{" not in str(value)}


def rendered(name: str | Path = "nftables.nft.j2", **changed: Any) -> str:
    """A template of the role, or one elsewhere, with the role's constants and defaults."""
    looked = {"__sightglass_nftables_outside": ["wan0"], "__sightglass_nftables_cameras": []}
    data = settings(ROLE) | looked | changed
    environment = jinja2.Environment(trim_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined)
    environment.filters["comment"] = "# {}".format
    environment.tests["search"] = lambda value, pattern: re.search(pattern, value) is not None
    return environment.from_string((ROLE / "templates" / name).read_text()).render(ansible_managed="test", **data)


class Host:
    """One network namespace with a private /etc/passwd that knows our users."""

    def __init__(self, passwd: Path) -> None:
        script = f"mount --bind {passwd} /etc/passwd && ip link set lo up && echo ready && exec cat"
        self._holder = subprocess.Popen(
            ["unshare", "--net", "--mount", "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"ready\n"
        self.pid = self._holder.pid
        self._children: list[subprocess.Popen[str]] = []

    def command(self, argv: Sequence[str], uid: int = 0) -> list[str]:
        enter = [
            "nsenter",
            f"--target={self.pid}",
            "--net",
            "--mount",
            "--wd=/",
        ]  # other users may not enter the checkout
        return [*enter, *(["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"] if uid else []), *argv]

    def run(self, *argv: str, uid: int = 0, given: str | None = None, check: bool = True) -> str:
        done = subprocess.run(
            self.command(argv, uid), input=given, capture_output=True, text=True, timeout=20, check=False
        )
        assert not check or done.returncode == 0, f"{argv}: {done.stderr}"
        return done.stdout

    def start(self, *argv: str, uid: int = 0) -> subprocess.Popen[str]:
        """Start a program and wait for its first line on stdout."""
        child = subprocess.Popen(self.command(argv, uid), stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
        self._children.append(child)
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        return child

    def load(self, rules: str) -> None:
        self.run("nft", "-f", "-", given=rules)

    def elements(self, name: str) -> dict[str, dict[str, Any]]:
        """A set's live elements: first part of the key -> what nft says of it."""
        # Protocols as numbers: their names come from /etc/protocols, which a small Debian does not have.
        listed = self.run("nft", "-j", "--numeric-protocol", "list", "set", "inet", "sightglass", name)
        found = json.loads(listed)["nftables"][1]["set"]
        elements = {}
        for item in found.get("elem", []):
            value = item["elem"]["val"]
            elements[value["concat"][0] if isinstance(value, dict) else value] = item["elem"]
        return elements

    def leases(self) -> dict[str, list[Any]]:
        """All live elements of the shutter's sets that are not empty; protocols are numbers."""
        found = {name: list(self.elements(name)) for name in ("own4", "own6", "open", "lease4", "lease6")}
        return {name: keys for name, keys in found.items() if keys}

    def stop_children(self) -> None:
        for child in self._children:
            child.kill()
            child.communicate()
        self._children.clear()

    def close(self) -> None:
        self.stop_children()
        self._holder.kill()
        self._holder.communicate()


@dataclass
class Net:
    gateway: Host
    peer: Host
    lan: Host
    directory: Path

    @property
    def rules(self) -> Path:
        """The table's file, as the shutter is given it."""
        return self.directory / "rules.nft"


@contextlib.contextmanager
def net() -> Iterator[Net]:
    """Gateway with `tailscale0` towards the peer and `lan0` towards the LAN host, which has planted routes."""
    directory = Path(tempfile.mkdtemp(prefix="sg-shutter-"))
    directory.chmod(0o755)
    # The shutter's user may not be able to read the checkout; and a copy proves that nothing else is needed.
    package = directory / "sightglass"
    source = ROOT / "agent/src/sightglass"
    shutil.copytree(source / "shutter", package / "shutter", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("__init__.py", "netlink.py", "sockdiag.py"):
        shutil.copy(source / name, package)
    passwd = directory / "passwd"
    ours = "".join(f"{name}:x:{uid}:{uid}::/nonexistent:/usr/sbin/nologin\n" for name, uid in UIDS.items())
    passwd.write_text(Path("/etc/passwd").read_text() + ours)
    hosts: list[Host] = []
    try:
        hosts.extend(Host(passwd) for _ in range(3))
        gateway, peer, lan = hosts
        gateway.run("ip", "link", "add", "tailscale0", "type", "veth", "peer", "name", "eth0", "netns", str(peer.pid))
        gateway.run("ip", "link", "add", "lan0", "type", "veth", "peer", "name", "eth0", "netns", str(lan.pid))
        for host, link, addresses in (
            (gateway, "tailscale0", (f"{OWN4}/24", f"{OWN6}/64")),
            (gateway, "lan0", (f"{LAN_GW4}/24", "fd50::1/64")),
            (peer, "eth0", (f"{VIEWER4}/24", f"{MEMBER4}/24", f"{VIEWER6}/64", f"{MEMBER6}/64")),
            (lan, "eth0", (f"{LAN4}/24", "fd50::20/64")),
        ):
            host.run("ip", "link", "set", link, "up")
            for address in addresses:
                nodad = ["nodad"] if ":" in address else []
                host.run("ip", "address", "add", address, "dev", link, *nodad)
        lan.run("ip", "route", "add", f"{OWN4}/32", "via", LAN_GW4)
        lan.run("ip", "-6", "route", "add", f"{OWN6}/128", "via", "fd50::1")
        (directory / "rules.nft").write_text(rendered())
        gateway.load(rendered())
        yield Net(gateway, peer, lan, directory)
    finally:
        for host in hosts:
            host.close()
        shutil.rmtree(directory)


_LAUNCH = """
import ctypes, os, sys
fd, mdwe, *argv = sys.argv[1:]
os.dup2(int(fd), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
if mdwe == "1" and ctypes.CDLL(None).prctl(65, 1, 0, 0, 0):
    sys.exit("no PR_SET_MDWE")
os.execvp(argv[0], argv)
"""
_NET_ADMIN = ["--inh-caps=-all,+net_admin", "--ambient-caps=-all,+net_admin", "--bounding-set=-all,+net_admin"]


@dataclass
class Shutter:
    """A running shutter and the agent's end of its connection."""

    process: subprocess.Popen[str]
    peer: socket.socket
    notices: socket.socket
    _buffer: bytes = field(default=b"")

    def say(self, *said: dict[str, Any]) -> dict[str, Any]:
        """Send, and read one answer for each; the last one."""
        self.peer.sendall(b"".join(json.dumps(one).encode() + b"\n" for one in said))
        return [self.read() for _ in said][-1]

    def read(self) -> dict[str, Any]:
        while b"\n" not in self._buffer:
            data = self.peer.recv(4096)
            assert data, "the shutter hung up"
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        answer: dict[str, Any] = json.loads(line)
        return answer

    def renew(
        self, viewers: Sequence[str] = (), seconds: int = 15, own: Sequence[str] = (OWN4, OWN6)
    ) -> dict[str, Any]:
        return self.say({"verb": "renew", "own": list(own), "viewers": list(viewers), "seconds": seconds})

    def close(self) -> dict[str, Any]:
        return self.say({"verb": "close"})

    def ended(self, deadline_s: float = 5.0) -> tuple[int, str]:
        """Its exit code and what it wrote to stderr."""
        _, errors = self.process.communicate(timeout=deadline_s)
        return self.process.returncode, errors

    def notice(self) -> str:
        return self.notices.recv(100).decode()


@contextlib.contextmanager
def shutter(net: Net, *, ports: Sequence[int] = (8554,), agent_uid: int = 0, mdwe: bool = False) -> Iterator[Shutter]:
    """The shutter as its unit runs it: own user, CAP_NET_ADMIN only, a passed socket and somebody connected to it."""
    path = net.directory / "shutter.sock"
    notify = net.directory / "notify.sock"
    for stale in (path, notify):
        stale.unlink(missing_ok=True)
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening,
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices,
    ):
        listening.bind(str(path))
        listening.listen(1)
        notices.bind(str(notify))
        notify.chmod(0o666)
        notices.settimeout(5)
        peer.settimeout(5)
        peer.connect(str(path))
        argv = [PYTHON, "-c", _LAUNCH, str(listening.fileno()), str(int(mdwe)), "setpriv", f"--reuid={SHUTTER}"]
        argv += [f"--regid={SHUTTER}", "--clear-groups", "--no-new-privs", *_NET_ADMIN]
        argv += [PYTHON, "-B", "-m", "sightglass.shutter.main", "--interface=tailscale0", f"--rules={net.rules}"]
        argv += [f"--agent-uid={agent_uid}"]
        process = subprocess.Popen(
            net.gateway.command([*argv, "--tcp", *map(str, ports), "--udp=8189", "--local", "8554", "8889"]),
            pass_fds=[listening.fileno()],
            stderr=subprocess.PIPE,
            text=True,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(net.directory), "NOTIFY_SOCKET": str(notify)},
        )
        listening.close()
        try:
            yield Shutter(process, peer, notices)
        finally:
            process.kill()
            process.communicate()


SERVER = """
import asyncio, sys
async def serve(reader, writer):
    try:
        while True:
            writer.write(b"x" * 64)
            await writer.drain()
            await asyncio.sleep(0.005)
    except OSError:
        pass
    finally:
        writer.close()
async def main():
    for port in sys.argv[2:]:
        await asyncio.start_server(serve, sys.argv[1] or None, int(port))
    print("ready", flush=True)
    await asyncio.get_running_loop().create_future()
asyncio.run(main())
"""
PROBE = """
import socket, sys
source, host, port, wait = sys.argv[1:]
family = socket.AF_INET6 if ":" in host else socket.AF_INET
with socket.socket(family, socket.SOCK_STREAM) as probe:
    probe.settimeout(float(wait))
    if source:
        probe.bind((source, 0))
    try:
        probe.connect((host, int(port)))
        print("data" if probe.recv(1) else "end")
    except ConnectionError:
        print("refused")
    except TimeoutError:
        print("silent")
"""
WATCH = """
import socket, sys, time
source, host, port = sys.argv[1:]
with socket.create_connection((host, int(port)), 3, (source, 0)) as watch:
    watch.settimeout(2)
    watch.recv(1)
    print("ready", flush=True)
    count = 0
    try:
        while data := watch.recv(4096):
            last = time.monotonic()
            count += len(data)
        print("end", count, last, time.monotonic())
    except ConnectionResetError:
        print("reset", count, last, time.monotonic())
    except TimeoutError:
        print("silent", count, last, time.monotonic())
"""


def serve(host: Host, address: str, *ports: int, uid: int = STREAM) -> subprocess.Popen[str]:
    """A TCP server that sends to whoever connects; `address` empty: every address."""
    return host.start(PYTHON, "-c", SERVER, address, *map(str, ports), uid=uid)


def probe(host: Host, address: str, port: int, *, source: str = "", uid: int = 0, wait_s: float = 0.5) -> str:
    """What one connection gets: data, end, refused or silent."""
    return host.run(PYTHON, "-c", PROBE, source, address, str(port), str(wait_s), uid=uid).strip()
