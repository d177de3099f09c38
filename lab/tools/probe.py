"""Probe addresses and ports from where this runs. In: a JSON list of probes; out: the same with outcomes.

A probe is `{"protocol": "tcp"|"udp", "address": "…", "port": n}`. Outcomes, from most to least open:
`bytes` (something was answered), `connected` (a TCP handshake, but no byte), `reset`, `unreachable`, `silent`.
Everything runs at once; each probe has the same deadline. A programming error ends with a non-zero exit code: an empty
answer is never "closed".
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import socket
import struct
import sys
from contextlib import suppress
from typing import Any

DEADLINE_S = 1.2
RESEND_S = 0.3
_STUN = struct.pack("!HHI12s", 0x0001, 0, 0x2112A442, b"sightglass-1")


async def tcp(address: str, port: int) -> str:
    """Connect, ask in RTSP (which an HTTP server answers too, if only with an error) and wait for a byte."""
    writer = None
    try:
        async with asyncio.timeout(DEADLINE_S):
            reader, writer = await asyncio.open_connection(address, port)
    except TimeoutError:
        return "silent"
    except OSError as error:
        return _refused(error)
    try:
        async with asyncio.timeout(DEADLINE_S):
            writer.write(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n")
            return "bytes" if await reader.read(1) else "connected"
    except TimeoutError:
        return "connected"
    except OSError:
        return "connected"
    finally:
        writer.close()


async def udp(address: str, port: int) -> str:
    """Send a STUN binding request, which WebRTC and the control responder answer, and wait for a datagram.

    As a STUN client sends it (RFC 8489, 6.2.1), again and again until its deadline: a datagram may be lost, and the
    first through a VPN whose peers have to find each other anew is (seen after a restart of tailscaled: 9 of 15).
    """
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as out:
        out.setblocking(False)
        try:
            out.connect((address, port))
            async with asyncio.timeout(DEADLINE_S):
                while True:
                    await loop.sock_sendall(out, _STUN)
                    with suppress(TimeoutError):
                        async with asyncio.timeout(RESEND_S):
                            await loop.sock_recv(out, 1500)
                            return "bytes"
        except TimeoutError:
            return "silent"
        except OSError as error:
            return _refused(error)


def _refused(error: OSError) -> str:
    # asyncio folds several addresses' errors into one without a number; ours is always one address.
    if error.errno == errno.ECONNREFUSED:
        return "reset"
    if error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EPERM):
        return "unreachable"
    if error.errno in (errno.ECONNRESET, errno.EPIPE):
        return "reset"
    if error.errno == errno.ETIMEDOUT:
        return "silent"
    raise error


async def main(probes: list[dict[str, Any]]) -> None:
    """Run all probes and print them with their outcomes, and the uid that probed."""
    kinds = {"tcp": tcp, "udp": udp}
    outcomes = await asyncio.gather(*(kinds[p["protocol"]](p["address"], p["port"]) for p in probes))
    done = [{**probe, "outcome": outcome} for probe, outcome in zip(probes, outcomes, strict=True)]
    sys.stdout.write(json.dumps({"uid": os.getuid(), "probes": done}) + "\n")


if __name__ == "__main__":
    asyncio.run(main(json.load(sys.stdin) if len(sys.argv) < 2 else json.loads(sys.argv[1])))
