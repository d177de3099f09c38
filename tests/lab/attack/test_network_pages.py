"""A web page of somebody else's, open in a viewer's browser, speaks to the player's port: RTSP in HTTP and WebSocket.

The stream server takes both and asks for no origin, and the viewer's address is that of a viewer.
"""

from __future__ import annotations

import json
import sys

import pytest

from tests.lab.attack.changed import RULES, replaced
from tests.lab.window.site_under_test import Site

_RULE = r"tcp dport \$sightglass_rtsp_port @ih,0,8 .*"
# Says how each connection ends that begins as a browser's would, and what a player gets.
_SAY = """
import base64, json, socket, struct, sys
address = sys.argv[1]
ask = f"DESCRIBE rtsp://{address}:8554/cam1 RTSP/1.0\\r\\nCSeq: 1\\r\\n\\r\\n".encode()
head = f"/cam1 HTTP/1.1\\r\\nHost: {address}:8554\\r\\nOrigin: http://evil.example\\r\\nX-Sessioncookie: 1\\r\\n"
upgrade = "Upgrade: websocket\\r\\nConnection: Upgrade\\r\\nSec-WebSocket-Version: 13\\r\\n"
upgrade += "Sec-WebSocket-Protocol: rtsp.onvif.org\\r\\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\\r\\n\\r\\n"
kind = "application/x-rtsp-tunnelled\\r\\n\\r\\n"

def said(*parts, then=None):
    with socket.create_connection((address, 8554), 2) as port:
        port.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        seen = b""
        try:
            for part in parts:
                port.sendall(part)
                seen += port.recv(2000)
            if then:
                then()
                seen += port.recv(2000)
        except OSError as error:
            return type(error).__name__
        return "a picture" if b"m=video" in seen else seen.decode(errors="replace")[:60]

def post():
    said(f"POST {head}Content-Type: {kind}".encode() + base64.b64encode(ask))

print(json.dumps({
    "player": said(ask),
    "websocket": said(f"GET {head}{upgrade}".encode(), b"\\x82" + bytes([128 | len(ask)]) + bytes(4) + ask),
    "tunnel": said(f"GET {head}Accept: {kind}".encode(), then=post),
}))
"""


@pytest.mark.requirement("A5")
def test_no_web_page_speaks_to_the_players_port(site: Site) -> None:
    """Both ways are reset; with the rule taken out, both are seen to lead to the picture."""

    def ask() -> dict[str, str]:
        site.open()
        done = site.maintainer.run([sys.executable, "-c", _SAY, str(site.gateway.vpn4)])
        site.close()
        site.wait_closed()
        ways: dict[str, str] = json.loads(done.stdout)
        return ways

    with replaced(site, RULES, _RULE, ""):
        assert ask() == dict.fromkeys(("player", "websocket", "tunnel"), "a picture"), "the control"
    reset = "ConnectionResetError"
    assert ask() == {"player": "a picture", "websocket": reset, "tunnel": reset}


# A request in pieces, so that no packet begins with a whole word, and more bytes than the server expects.
_CRASH = """
import socket, sys
request = b"GET /cam1 HTTP/1.1\\r\\nHost: x\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n"
request += b"Sec-WebSocket-Version: 13\\r\\n"
request += b"Sec-WebSocket-Protocol: rtsp.onvif.org\\r\\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\\r\\n\\r\\nmore"
size = int(sys.argv[2])
with socket.create_connection((sys.argv[1], 8554), 2) as port:
    port.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        for piece in (request[:size], request[size:]):
            port.sendall(piece)
            port.settimeout(0.2)
            try:
                print(port.recv(100))
            except TimeoutError:
                pass
    except OSError as error:
        print(type(error).__name__)
"""


@pytest.mark.requirement("F2")
@pytest.mark.parametrize("size", [1, 1000])
def test_a_viewers_request_does_not_end_the_server(site: Site, size: int) -> None:
    """MediaMTX 1.20.1 panics over it, and the window goes with it; ordinary sockets get no such request through."""

    def ask() -> str:
        window = site.open()["id"]
        site.maintainer.run([sys.executable, "-c", _CRASH, str(site.gateway.vpn4), str(size)])
        try:
            # The control has to wait for the end of the window; the picture must still come where there is none.
            return str(len(site.watch(frames=3)))
        except AssertionError:
            return site.cause(window)

    with replaced(site, RULES, _RULE, ""):
        assert ask() == "server-lost", "the control"
        site.wait_closed()
    assert ask() == "3"
