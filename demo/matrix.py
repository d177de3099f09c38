"""The reachability matrix: every vantage point, every stream port, both protocols, both families, each cell by a probe.

A cell that must be closed proves nothing unless the same probe, from the same place, over the same path, is seen to
succeed: so every batch also probes a control port, on which a responder answers on every address of the gateway.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from lab import Lab
from lab.host import Host
from lab.media import TOOLS
from lab.plan import PROBE_PORT

TCP_PORTS = (8189, 8550, 8554, 8889)
OPENED = (8189, 8550, 8554)
"""Of these, what a window opens to its viewer: media over TCP, page, player. 8889 is between console and server."""
UDP_PORTS = (8189,)
OPEN = {"bytes", "connected"}


@dataclass(frozen=True, slots=True)
class Vantage:
    """Where a probe starts and where it aims: `target` names the gateway's address, `routed` says that a route to the
    VPN address was planted there by hand."""

    host: str
    target: str
    routed: bool

    @property
    def name(self) -> str:
        """For people."""
        return (
            f"{self.host}, planted route to the VPN address"
            if self.routed
            else f"{self.host} to the {self.target} address"
        )


VANTAGES = (
    Vantage("maintainer", "vpn", routed=False),
    Vantage("member", "vpn", routed=False),
    Vantage("lan", "lan", routed=False),
    Vantage("wan", "wan", routed=False),
    Vantage("lan", "vpn", routed=True),
    Vantage("wan", "vpn", routed=True),
)


@dataclass(frozen=True, slots=True)
class Cell:
    """One measured cell and whether it is as it must be. `control` marks the probe's positive control."""

    phase: str
    vantage: str
    protocol: str
    family: int
    port: int
    outcome: str
    expected: str
    control: bool

    @property
    def good(self) -> bool:
        """`open` wants an answer, `closed` wants neither a handshake nor a byte."""
        return (self.outcome in OPEN) == (self.expected == "open")

    def __str__(self) -> str:
        return (
            f"{self.phase}: {self.vantage}, {self.protocol} IPv{self.family} port {self.port}"
            f"{' (control)' if self.control else ''}: {self.outcome}, must be {self.expected}"
        )


@contextmanager
def responder(gateway: Host, *ports: int) -> Iterator[None]:
    """The control port, or these, answer on every address of the gateway while the block runs."""
    script = (TOOLS / "responder.py").read_text()
    words = [str(port) for port in ports or (PROBE_PORT,)]
    process = gateway.popen(["python3", "-c", script, *words], stdin=-1, stdout=-1, text=True)
    try:
        if process.stdout is None or process.stdout.readline().strip() != "ready":
            raise RuntimeError("the control responder did not start")
        yield
    finally:
        process.kill()
        process.communicate(timeout=5)


@contextmanager
def planted(lab: Lab, gateway: Host) -> Iterator[None]:
    """Routes to the gateway's VPN addresses on `lan` and `wan`, as an attacker on those networks would add them."""
    commands = []
    for name, via4, via6 in (("lan", gateway.lan4, gateway.lan6), ("wan", gateway.wan4, gateway.wan6)):
        commands += [(name, "-4", f"{gateway.vpn4}/32", via4), (name, "-6", f"{gateway.vpn6}/128", via6)]
    for name, family, prefix, via in commands:
        lab.host(name).run(["ip", family, "route", "replace", prefix, "via", str(via)])
    try:
        yield
    finally:
        for name, family, prefix, _ in commands:
            lab.host(name).run(["ip", family, "route", "del", prefix], check=False)


def measure(lab: Lab, gateway: Host, phase: str) -> list[Cell]:
    """All cells of one phase: `before`, `during` or `after`."""
    cells: list[Cell] = []
    plain = [v for v in VANTAGES if not v.routed]
    with responder(gateway):
        for vantage in plain:
            cells += _measure(lab, gateway, phase, vantage)
        with planted(lab, gateway):
            for vantage in VANTAGES:
                if vantage.routed:
                    cells += _measure(lab, gateway, phase, vantage)
    return cells


def _measure(lab: Lab, gateway: Host, phase: str, vantage: Vantage) -> list[Cell]:
    targets = {4: getattr(gateway, f"{vantage.target}4"), 6: getattr(gateway, f"{vantage.target}6")}
    probes, marks = [], []
    for family, address in targets.items():
        for protocol, ports in (("tcp", (*TCP_PORTS, PROBE_PORT)), ("udp", (*UDP_PORTS, PROBE_PORT))):
            for port in ports:
                probes.append({"protocol": protocol, "address": str(address), "port": port})
                marks.append((family, protocol, port))
    answer = lab.host(vantage.host).run([sys.executable, str(TOOLS / "probe.py")], input=json.dumps(probes), timeout=20)
    results = json.loads(answer.stdout)["probes"]
    if len(results) != len(probes):
        raise RuntimeError(f"{len(probes)} probes were sent, {len(results)} came back")
    return [
        Cell(
            phase,
            vantage.name,
            protocol,
            family,
            port,
            result["outcome"],
            _expected(vantage, phase, family, protocol, port),
            control=port == PROBE_PORT,
        )
        for (family, protocol, port), result in zip(marks, results, strict=True)
    ]


def _expected(vantage: Vantage, phase: str, family: int, protocol: str, port: int) -> str:
    if port == PROBE_PORT:
        # With a window open the gateway takes no packet for its VPN address from anywhere but the VPN, the control's
        # neither: then the same route's controls before and after stand for it.
        return "closed" if vantage.routed and phase == "during" else "open"
    # UDP media answers only a browser that has made its offer: the page's picture is that cell's proof.
    opened = (family, protocol) == (4, "tcp") and port in OPENED
    return "open" if opened and vantage.host == "maintainer" and phase == "during" else "closed"


def table(cells: list[Cell]) -> str:
    """One line a vantage point and phase; each cell is `protocol/family:port=outcome`, `!` marks one that is wrong."""
    lines = []
    for vantage in VANTAGES:
        for phase in ("before", "during", "after"):
            row = [c for c in cells if c.vantage == vantage.name and c.phase == phase]
            if not row:
                continue
            lines.append(f"  {vantage.name} | {phase}")
            for family in (4, 6):
                shown = "  ".join(
                    f"{'!' if not c.good else ''}{c.protocol} {c.port}{'*' if c.control else ''} {c.outcome}"
                    for c in row
                    if c.family == family
                )
                lines.append(f"      IPv{family}: {shown}")
    return "\n".join([*lines, "  (* the probe's control port)"])
