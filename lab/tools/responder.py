"""The probe's positive control: answers every TCP connection and UDP datagram on its ports, on every address.

`responder.py PORT…` prints `ready` and runs until it is killed or its standard input ends.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import sys

ANSWER = b"control\n"


class Echo(asyncio.DatagramProtocol):
    """Answer from the address that was asked: a wildcard socket would answer from another one."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self.transport = transport

    def datagram_received(self, _data: bytes, peer: tuple[str | object, int]) -> None:
        """Answer."""
        self.transport.sendto(ANSWER, peer)  # type: ignore[attr-defined]


async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One line and goodbye."""
    writer.write(ANSWER)
    await writer.drain()
    writer.close()


def addresses() -> list[str]:
    """Every address of this host, as the kernel lists them."""
    import subprocess

    listed = subprocess.run(["ip", "-o", "addr", "show"], capture_output=True, text=True, check=True).stdout
    found = [line.split()[3].partition("/")[0] for line in listed.splitlines()]
    return [address for address in found if not address.startswith("fe80:")]


async def main(ports: list[int]) -> None:
    """Serve on each address by itself."""
    loop = asyncio.get_running_loop()
    for address, port in itertools.product(addresses(), ports):
        await asyncio.start_server(answer, address, port)
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        await loop.create_datagram_endpoint(Echo, local_addr=(address, port), family=family)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main([int(port) for port in sys.argv[1:]]))
