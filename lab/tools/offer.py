"""An entitled viewer that writes its own offer: whatever candidates it likes, in place of a browser's.

`offer.py PAGE CAMERA` reads a JSON list of candidates (what follows `a=candidate:`) from its standard input's first
line, opens the page at the URL PAGE, sends the offer, prints `{"headers": …, "status": n, "answer": …}` (the offer's
headers) and keeps the page open until its standard input ends.
"""

from __future__ import annotations

import json
import sys

import httpx

# A fingerprint must have the right shape; nobody gets as far as to compare it.
_OFFER = """v=0
o=- 4611731400430051336 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0
m=video 9 UDP/TLS/RTP/SAVPF 96
c=IN IP4 0.0.0.0
a=rtcp:9 IN IP4 0.0.0.0
{candidates}a=ice-ufrag:abcd
a=ice-pwd:aaaaaaaaaaaaaaaaaaaaaaaa
a=fingerprint:sha-256 {fingerprint}
a=setup:actpass
a=mid:0
a=recvonly
a=rtcp-mux
a=rtpmap:96 H264/90000
a=fmtp:96 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f
"""


def offer(candidates: list[str]) -> bytes:
    """An offer to receive one video, in SDP."""
    lines = "".join(f"a=candidate:{candidate}\n" for candidate in candidates)
    return _OFFER.format(candidates=lines, fingerprint=":".join(["AB"] * 32)).replace("\n", "\r\n").encode()


def main(url: str, camera: str) -> None:
    """Offer."""
    body = offer(json.loads(sys.stdin.readline()))
    with httpx.Client(base_url=url, trust_env=False, timeout=10) as http:
        cookie = http.get("/").headers["Set-Cookie"].partition(";")[0]
        with http.stream("GET", "/events", headers={"Cookie": cookie}) as events:
            lines = events.iter_lines()
            page = next(line for line in lines if line.startswith("data: ")).removeprefix("data: ")
            headers = {"Content-Type": "application/sdp", "X-Sightglass-Page": page, "Cookie": cookie}
            answer = http.post(f"/whep/{camera}", content=body, headers=headers)
            seen = {"headers": headers, "status": answer.status_code, "answer": answer.text}
            sys.stdout.write(json.dumps(seen) + "\n")
            sys.stdout.flush()
            sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
