"""The plain parts, started by hand: MediaMTX with a minimal configuration and ffmpeg, on the gateway's network."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from lab import Lab, wait
from lab.cgroups import Cgroup
from lab.host import Host
from lab.media import capture, finish, first_frame_at, viewer
from lab.plan import PROBE_PORT

_CONFIG = """
logLevel: error
rtspAddress: {address}:{port}
rtspTransports: [tcp]
rtmp: no
hls: no
webrtc: no
srt: no
moq: no
paths: {{cam1: {{}}}}
"""


def _start(command: list[str]) -> subprocess.Popen[bytes]:
    nothing = subprocess.DEVNULL
    return subprocess.Popen(command, stdin=nothing, stdout=nothing, stderr=nothing)


@contextlib.contextmanager
def plain_stream(lab: Lab, gateway: Host) -> Iterator[str]:
    """MediaMTX and ffmpeg at work while the block runs; the stream's address.

    Both run on the machine's own disk but in the gateway's network, for Debian's ffmpeg is not part of a gateway.
    """
    init = Cgroup(lab.name).init_pid("gw1/payload/init.scope")
    inside = ["nsenter", "-t", str(init), "-n", "--"]
    url = f"rtsp://{gateway.vpn4}:{PROBE_PORT}/cam1"
    with tempfile.TemporaryDirectory() as directory:
        config = Path(directory) / "mediamtx.yml"
        config.write_text(_CONFIG.format(address=gateway.vpn4, port=PROBE_PORT))
        server = _start([*inside, lab.data["binaries"]["mediamtx"], str(config)])
        feed = None
        try:
            ask = [*inside, "bash", "-c", f"</dev/tcp/{gateway.vpn4}/{PROBE_PORT}"]
            wait.until(lambda: _start(ask).wait(2) == 0, 10, "MediaMTX listens")
            feed = _start(
                [
                    *inside,
                    *("ffmpeg", "-loglevel", "error", "-fflags", "nobuffer", "-f", "mpjpeg"),
                    *("-i", "http://127.0.0.1:8000/mjpeg/cam1", "-vf", "scale=640:360", "-r", "10"),
                    *("-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency"),
                    *("-g", "10", "-pix_fmt", "yuv420p", "-f", "rtsp", "-rtsp_transport", "tcp", url),
                ]
            )
            yield url
        finally:
            for process in (feed, server):
                if process is not None:
                    process.kill()
                    process.wait(5)


def one_plain(lab: Lab, gateway: Host, maintainer: Host) -> dict[str, float]:
    """Seconds from the start of both by hand to the first decoded frame, and from their kill to the last media byte."""
    wire = capture(gateway, PROBE_PORT)
    watching = viewer(maintainer, f"rtsp://{gateway.vpn4}:{PROBE_PORT}/cam1")
    began = time.time()
    with plain_stream(lab, gateway):
        first = first_frame_at(watching)
        killed = time.time()
    ended = time.time()
    wait.until(lambda: time.time() > ended + 1, 3, "a second after the kill")
    seen = finish(wire)
    watching.kill()
    watching.wait(5)
    return {"first_frame_s": first - began, "last_byte_s": seen["last"] - killed}
