"""A viewer that does not take no for an answer: keeps sending on what it has, never closes, and reconnects in a loop.

`stubborn.py ADDRESS PORT SECONDS`: a raw RTSP client; it prints nothing and ends by itself.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import time

_ASK = "{verb} rtsp://{address}:{port}/cam1{track} RTSP/1.0\r\nCSeq: {seq}\r\n{more}\r\n"
_PAUSE_S = 0.05
MOST = 40
"""Connections that it holds on to."""


def dial(address: str, port: int) -> socket.socket | None:
    """A connection that plays, as far as anybody lets it."""
    sock = socket.socket()
    sock.settimeout(0.5)
    try:
        sock.connect((address, port))
        session = ""
        for seq, (verb, track, more) in enumerate(
            [
                ("DESCRIBE", "", "Accept: application/sdp\r\n"),
                ("SETUP", "/trackID=0", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"),
                ("PLAY", "/", ""),
            ],
            start=1,
        ):
            held = f"Session: {session}\r\n" if session else ""
            sock.sendall(
                _ASK.format(verb=verb, address=address, port=port, track=track, seq=seq, more=more + held).encode()
            )
            answer = sock.recv(4096).decode("latin-1")
            session = session or answer.partition("Session: ")[2].partition(";")[0].partition("\r")[0]
    except OSError:
        sock.close()
        return None
    return sock


def main(address: str, port: int, seconds: float) -> None:
    """Insist."""
    held: list[socket.socket] = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if len(held) < MOST and (sock := dial(address, port)) is not None:
            sock.setblocking(False)
            held.append(sock)
        for sock in held:
            with contextlib.suppress(OSError):
                sock.send(_ASK.format(verb="OPTIONS", address=address, port=port, track="", seq=9, more="").encode())
            with contextlib.suppress(OSError):
                sock.recv(1 << 20)
        time.sleep(_PAUSE_S)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
