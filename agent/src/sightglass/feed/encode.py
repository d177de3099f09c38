"""One camera's picture as H.264, published by RTSP over TCP."""

from __future__ import annotations

from fractions import Fraction
from typing import Any
from urllib.parse import urlsplit

import av
import av.error
import av.logging
import numpy as np
from av.video.frame import PictureType
from numpy.typing import NDArray

from sightglass.feed.job import FeedError

BITRATE = 600_000  # bit/s, as mean and as most
_CLOCK = 1000  # pts are milliseconds


class PublishError(FeedError):
    """The server is not there, refuses, or ended the connection; the text holds no credential."""


def masked(url: str) -> str:
    """`url` without user and password."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


class Publisher:
    """An open connection to the stream server. Each call may block for as long as the server stands still."""

    def __init__(self, url: str, width: int, height: int, fps: int) -> None:
        """Connect and announce the stream; PublishError when that fails."""
        av.logging.set_level(None)  # FFmpeg's own log prints the address with the password
        self._url = url
        try:
            # MediaMTX cuts packets above 1440 bytes into new ones; FFmpeg's default is 1472.
            options = {"rtsp_transport": "tcp", "pkt_size": "1400"}
            self._container = av.open(url, "w", format="rtsp", options=options)
            stream: Any = self._container.add_stream("libx264", rate=fps)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.bit_rate = BITRATE
            stream.codec_context.time_base = Fraction(1, _CLOCK)
            stream.codec_context.gop_size = fps
            stream.codec_context.max_b_frames = 0
            stream.codec_context.thread_count = 1
            # forced-idr: a frame that we force must be one that a new viewer can start with. The small buffer keeps a
            # key frame from being many times the size of the others.
            stream.options = {
                "preset": "ultrafast",
                "tune": "zerolatency",
                "forced-idr": "1",
                "maxrate": str(BITRATE),
                "bufsize": str(BITRATE // 2),
            }
            self._stream = stream
            self._container.start_encoding()
        except (av.error.FFmpegError, OSError) as error:
            raise self._error("publish to", error) from None
        self._pts = -1

    def write(self, i420: NDArray[np.uint8], milliseconds: int, key: bool) -> None:
        """Encode and send one frame, `i420` (height * 3 / 2, width) uint8, shown at `milliseconds` since the start.

        PublishError when the connection is lost.
        """
        frame = av.VideoFrame.from_ndarray(i420, format="yuv420p")
        self._pts = max(self._pts + 1, milliseconds)
        frame.pts, frame.time_base = self._pts, Fraction(1, _CLOCK)
        frame.pict_type = PictureType.I if key else PictureType.NONE
        try:
            packets = self._stream.encode(frame)
            self._container.mux(packets)
        except (av.error.FFmpegError, OSError) as error:
            raise self._error("publishing to", error) from None
        if len(packets) != 1:
            # A frame that stays in the encoder would come out after the picture was suspended.
            raise PublishError(f"the encoder gave {len(packets)} packets for a frame instead of one")

    def close(self) -> None:
        """Say goodbye and disconnect."""
        try:
            self._container.close()
        except (av.error.FFmpegError, OSError):
            return  # it is gone already, which is what was wanted

    def _error(self, doing: str, error: Exception) -> PublishError:
        # The text of a PyAV error ends with the address, password included.
        reason = getattr(error, "strerror", None) or type(error).__name__
        return PublishError(f"{doing} {masked(self._url)}: {reason}")
