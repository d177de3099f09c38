"""A web page of somebody else's, open in a viewer's browser, speaks to the player's port: RTSP in HTTP and WebSocket.

The stream server takes both and asks for no origin, and the viewer's address is that of a viewer.
"""

from __future__ import annotations

import json
import sys

import pytest

from tests.lab.attack.changed import RULES, replaced
from tests.lab.window.site_under_test import Site

_RULE = r"tcp dport \$sightglass_rtsp_port @ih.*"
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
