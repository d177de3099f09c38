"""A window under a viewer's attack: two viewers, two cameras of which the window has one, a VPN that stops nobody."""

from __future__ import annotations

import contextlib
import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lab import Lab, wait
from lab.host import Host
from lab.media import TOOLS
from tests.lab.attack.policy import EVERYTHING, granted, second_viewer, wait_viewers
from tests.lab.configured import configured
from tests.lab.window.site_under_test import Site

_MEDIA = ["m=video 0 RTP/AVP 96", "a=rtpmap:96 H264/90000", "a=fmtp:96 packetization-mode=1", "a=control:0", ""]
ANNOUNCED = "\r\n".join(["v=0", "o=- 0 0 IN IP4 127.0.0.1", "s=-", "t=0 0", *_MEDIA])
TCP = {"Transport": "RTP/AVP/TCP;unicast;interleaved=0-1"}
Answer = dict[str, Any]


class Rtsp:
    """A viewer's RTSP connection; `ask` gives the answer, whose status is None when the server hung up."""

    def __init__(self, host: Host, gateway: Host, user: str | None = None) -> None:
        words = [sys.executable, str(TOOLS / "rtsp.py")]
        if host.is_gateway:
            words = ["python3", "-c", (TOOLS / "rtsp.py").read_text()]
        words += [str(gateway.vpn4), "8554"]
        self._process = host.popen(words, user=user, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._url = f"rtsp://{gateway.vpn4}:8554"

    def ask(self, method: str, path: str = "/cam1", headers: dict[str, str] | None = None, body: str = "") -> Answer:
        """One request."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([method, self._url + path, headers or {}, body]) + "\n")
        self._process.stdin.flush()
        answer: Answer = json.loads(self._process.stdout.readline())
        return answer

    def play(self) -> str:
        """Watch; returns the session's id."""
        session = str(self.ask("SETUP", "/cam1/trackID=0", TCP)["session"])
        assert self.ask("PLAY", "/cam1", {"Session": session})["status"] == 200
        return session

    def packets(self) -> int:
        """Pictures' packets so far; waits for one more."""
        counted = self.ask("COUNT")
        assert counted["status"] == 0, counted
        return int(counted["packets"])

    def close(self) -> None:
        """Hang up."""
        self._process.kill()
        self._process.communicate(timeout=5)


@dataclass
class Scene:
    """A window for cam1 on a gateway that also has cam2, watched by the maintainer; the member may watch, too."""

    site: Site
    feed: str

    @property
    def other(self) -> Host:
        """The second viewer."""
        return self.site.lab.host("member")

    @contextlib.contextmanager
    def rtsp(self, host: Host | None = None, user: str | None = None) -> Iterator[Rtsp]:
        """A connection of the maintainer, or of `host`, there as `user`."""
        connection = Rtsp(host or self.site.maintainer, self.site.gateway, user)
        try:
            yield connection
        finally:
            connection.close()

    @contextlib.contextmanager
    def page(self, host: Host | None = None) -> Iterator[dict[str, str]]:
        """A page that is open; the headers of its offers, its id and its cookie among them."""
        words = [sys.executable, str(TOOLS / "offer.py"), self.site.page, "cam1"]
        with (host or self.site.maintainer).popen(words, stdin=-1, stdout=-1, text=True) as process:
            try:
                assert process.stdin is not None
                assert process.stdout is not None
                process.stdin.write("[]\n")
                process.stdin.flush()
                answer = json.loads(process.stdout.readline())
                assert answer["status"] == 201, answer
                yield answer["headers"]
            finally:
                process.kill()

    def publishers(self) -> int:
        """How many have published since the server was started."""
        unit = "sightglass-mediamtx.service"
        this = self.site.gateway.run(["systemctl", "show", "-P", "InvocationID", unit]).stdout.strip()
        said = self.site.gateway.run(["journalctl", f"_SYSTEMD_INVOCATION_ID={this}", "--no-pager", "-o", "cat"]).stdout
        return said.count("is publishing to path")

    def lives(self) -> bool:
        """A viewer gets the picture, and the site's own vision goes on counting."""
        frame = self.site.parking_frame()
        assert len(self.site.watch(frames=2)) == 2
        wait.until(lambda: self.site.parking_frame() > frame, 5, "the parking has taken another frame")
        return bool(self.site.status()["state"] == "open")


@contextlib.contextmanager
def overheard(site: Site, found: list[str]) -> Iterator[None]:
    """What the feed says to publish, as it passes on the gateway's loopback while the block runs: `Basic …`."""
    listen = ["tcpdump", "-Z", "root", "--immediate-mode", "-lnnA", "-i", "lo", "tcp dst port 8554"]
    with site.gateway.popen(listen, stdout=-1, stderr=-1, text=True) as sniffer:
        assert sniffer.stdout is not None
        assert sniffer.stderr is not None
        try:
            assert any("listening on" in line for line in sniffer.stderr), "tcpdump listens"
            yield
            # The feed's pictures pass there, too, so that there is always another line.
            lines = itertools.islice(sniffer.stdout, 20_000)
            found += [next(line.split(": ")[1].strip() for line in lines if line.startswith("Authorization: Basic "))]
        finally:
            sniffer.kill()


@contextlib.contextmanager
def opened(converged: Lab) -> Iterator[Scene]:
    """The window, for as long as the block runs; afterwards the gateway is as it was."""
    site = Site(converged, converged.host("gw1"), converged.host("maintainer"))
    site.wait_closed()

    def second_camera(config: dict[str, Any]) -> None:
        config["cameras"]["cam2"] = config["cameras"]["cam1"]

    with granted(site, EVERYTHING), second_viewer(site), configured(site, second_camera):
        try:
            found: list[str] = []
            with overheard(site, found):
                site.open(minutes=15)
            wait_viewers(site, "maintainer", "member")
            yield Scene(site, found[0])
        finally:
            site.close()
            site.wait_closed()
    site.verify()
