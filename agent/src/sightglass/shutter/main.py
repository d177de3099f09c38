"""`sightglass-shutter`: hold the kernel gate open for one connection, as long as it is renewed.

Started by systemd when the agent connects. Whatever ends it, the same is done: leases deleted, sockets destroyed, exit.
Exit code 0: close or SIGTERM; 3: the lease ran out; 4: the agent is gone; 5: the peer broke the protocol; 6: the kernel
refused or our table is not as it must be. One line on stderr says which.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import pwd
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sightglass.shutter import systemd
from sightglass.shutter.gate import Gate, GateError, Ports
from sightglass.shutter.nft import NftError
from sightglass.shutter.verbs import MAX_LINE, MAX_SECONDS, Close, ProtocolError, Renew, parse

_ACCEPT_S = 2.0
"""systemd starts this because somebody has connected, so the connection is there."""
_BEAT_S = 0.5
"""How often the watchdog is fed at least (WatchdogSec is 2)."""


class Ending(NamedTuple):
    """Why it ends. `answer` is what the peer is told, None when it asked nothing."""

    code: int
    reason: str
    answer: bool = False


def boottime() -> float:
    """Seconds that go on in suspend and that no clock change moves."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _say(peer: socket.socket, said: dict[str, Any]) -> None:
    """One line to the peer, at once or not at all: a peer that does not read must not hold up an ending."""
    peer.send(json.dumps(said, separators=(",", ":")).encode() + b"\n", socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)


class Session:
    """One connection: turns lines into renewals until something ends it."""

    def __init__(self, peer: socket.socket, gate: Gate, stop: socket.socket, now: Callable[[], float]) -> None:
        self._peer = peer
        self._gate = gate
        self._stop = stop
        self._now = now
        self._deadline = now() + MAX_SECONDS
        self._buffer = b""

    def serve(self) -> Ending:
        """Until the end. Raises what the gate raises."""
        poll = select.poll()
        for source in (self._peer, self._gate.changes, self._stop):
            poll.register(source, select.POLLIN)
        while True:
            systemd.notify("WATCHDOG=1")
            left = self._deadline - self._now()
            if left <= 0:
                return Ending(3, "the lease ran out")
            ready = {descriptor for descriptor, _ in poll.poll(min(left, _BEAT_S) * 1000)}
            # Back from suspend a late renewal must not be believed before the clock is.
            if self._now() >= self._deadline:
                return Ending(3, "the lease ran out")
            if self._stop.fileno() in ready:
                return Ending(0, "told to stop by signal")
            if self._gate.changes.fileno() in ready:
                self._gate.verify()
            if self._peer.fileno() in ready and (ending := self._hear()):
                return ending

    def _hear(self) -> Ending | None:
        try:
            data = self._peer.recv(MAX_LINE)
        except OSError:
            data = b""
        if not data:
            return Ending(4, "the agent is gone")
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            try:
                verb = parse(line + b"\n")
            except ProtocolError as error:
                return Ending(5, str(error), answer=True)
            if isinstance(verb, Close):
                return Ending(0, "closed", answer=True)
            if ending := self._renew(verb):
                return ending
        if len(self._buffer) >= MAX_LINE:
            return Ending(5, f"a line must not exceed {MAX_LINE} bytes", answer=True)
        return None

    def _renew(self, verb: Renew) -> Ending | None:
        # Read before the kernel is asked, so that this process never outlives the elements.
        started = self._now()
        try:
            self._gate.renew(verb)
            sent = self._gate.sent()
        except (GateError, NftError, OSError) as error:
            return Ending(6, str(error), answer=True)
        self._deadline = started + verb.seconds
        try:
            _say(self._peer, {"ok": True, "sent": sent})
        except OSError:
            return Ending(4, "the agent does not read its answers")
        return None


def _accept(listener: socket.socket, uid: int) -> socket.socket | Ending:
    """The one connection of this life. It is taken before anything can fail, or systemd would start us for it again."""
    listener.settimeout(_ACCEPT_S)
    try:
        peer, _ = listener.accept()
    except OSError:
        return Ending(4, "nobody has connected")
    peer.setblocking(False)
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("=iII"))
    peer_uid = struct.unpack("=iII", credentials)[1]
    if peer_uid != uid:
        peer.close()
        return Ending(5, f"the peer's uid must be {uid}, got {peer_uid}")
    return peer


def _serve(peer: socket.socket, gate_of: Callable[[], Gate], stop: socket.socket) -> Ending:
    """Open for business, serve, cut. Whatever happens, the cut does."""
    try:
        gate = gate_of()
    except (NftError, OSError) as error:
        ending = Ending(6, str(error), answer=True)
        _answer(peer, ending, 0.0, {})
        return ending
    try:
        gate.start()
        systemd.notify("READY=1")
        ending = Session(peer, gate, stop, boottime).serve()
    except Exception as error:  # noqa: BLE001 - an unforeseen failure closes like a foreseen one
        ending = Ending(6, f"{type(error).__name__}: {error}", answer=True)
    systemd.notify("STOPPING=1")
    started = time.monotonic()
    try:
        gate.cut()
    except (NftError, OSError) as error:
        ending = Ending(6, f"{ending.reason}; then the leases could not be deleted: {error}", ending.answer)
    cut_ms = (time.monotonic() - started) * 1000
    try:
        sent = gate.sent()
    except (NftError, OSError, LookupError, TypeError):
        sent = {}  # the table may be what is wrong
    _answer(peer, ending, cut_ms, sent)
    return ending


def _answer(peer: socket.socket, ending: Ending, cut_ms: float, sent: dict[str, int]) -> None:
    if not ending.answer:
        return
    done = {"ok": True, "cut_ms": round(cut_ms, 2), "sent": sent}
    said = done if ending.code == 0 else {"ok": False, "error": ending.reason}
    try:
        _say(peer, said)
    except OSError:
        return


def _gate(ports: Ports, interface: str, rules: Path, switch: Path | None) -> Gate:
    # The agent looks, too; this is for the day on which it does not.
    if switch is not None and os.path.lexists(switch):
        raise OSError(f"the switch at the gateway is set: {switch}")
    return Gate(ports, interface, rules)


def _stop_socket() -> socket.socket:
    """Becomes readable at SIGTERM, SIGINT or SIGHUP."""
    readable, writable = socket.socketpair()
    writable.setblocking(False)
    signal.set_wakeup_fd(writable.detach())
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    return readable


def _port(text: str) -> int:
    port = int(text)
    if not 1 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"must be a port, got {text}")
    return port


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="sightglass-shutter", description=__doc__.splitlines()[0] if __doc__ else None
    )
    for option, text in (
        ("--tcp", "what viewers are leased"),
        ("--udp", "the same over UDP"),
        ("--local", "TCP port that the window's own processes reach on this host"),
    ):
        parser.add_argument(option, type=_port, nargs="+", default=[], metavar="PORT", help=text)
    parser.add_argument("--interface", required=True, help="the VPN's interface")
    parser.add_argument("--switch", type=Path, help="nothing opens while this file is there")
    parser.add_argument("--rules", type=Path, required=True, help="the table's file, which only root may write")
    owner = parser.add_mutually_exclusive_group(required=True)
    owner.add_argument("--agent-user", help="user that may connect")
    owner.add_argument("--agent-uid", type=int, help="the same as a number")
    args = parser.parse_args(argv)
    ports = Ports(tuple(args.tcp), tuple(args.udp), tuple(args.local))
    if not ports.tcp:
        parser.error("--tcp must name a port")
    gate_of = functools.partial(_gate, ports, args.interface, args.rules, args.switch)
    stop = _stop_socket()
    try:
        uid = args.agent_uid if args.agent_user is None else pwd.getpwnam(args.agent_user).pw_uid
        listener = systemd.listener()
    except (KeyError, RuntimeError) as error:
        print(f"sightglass-shutter: {error}", file=sys.stderr)  # noqa: T201 - stderr is the journal
        return os.EX_CONFIG
    peer = _accept(listener, uid)
    ending = peer if isinstance(peer, Ending) else _serve(peer, gate_of, stop)
    print(f"sightglass-shutter: closed, exit {ending.code}: {ending.reason}", file=sys.stderr)  # noqa: T201
    return ending.code


if __name__ == "__main__":
    sys.exit(main())
