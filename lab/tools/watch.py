"""An ordinary viewer: opens an RTSP URL over TCP, decodes, and says what it saw.

`watch.py URL [--frames N] [--seconds S] [--retry S] [--picture FILE]` prints one JSON line per event:
`{"event": "first", "at": …}`, at the end `{"event": "end", "frames": n, "numbers": […], "at": …, "why": …,
"last_picture": …}`. `numbers` are the frame numbers read from the source's burnt-in strip (null where it cannot be
read, e.g. on a slate), `last_picture` is when the last one with a number was decoded.
Exit code 0 when at least one frame was decoded, 1 when none.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import av
import cv2

from lab.tools.seen import number, say

QUICK = {"fflags": "nobuffer", "probesize": "32", "analyzeduration": "0", "fpsprobesize": "0"}
"""Without these FFmpeg studies 20 frames before it shows the first: two seconds at 10 frames a second."""


def main() -> int:
    """Watch."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--frames", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--retry", type=float, default=0.0)
    parser.add_argument("--picture", type=Path)
    arguments = parser.parse_args()
    options = {"rtsp_transport": "tcp", **QUICK}
    began, frames, numbers, why, last = time.time(), 0, [], "the end of the stream", None
    while True:
        try:
            with av.open(arguments.url, options=options, timeout=(3.0, 3.0)) as stream:
                for frame in stream.decode(video=0):
                    frames += 1
                    picture = frame.to_ndarray(format="bgr24")
                    if frames == 1:
                        say(event="first", at=time.time(), width=frame.width, height=frame.height)
                    numbers.append(number(picture))
                    last = time.time() if numbers[-1] is not None else last
                    if arguments.picture and numbers[-1] is not None:
                        cv2.imwrite(str(arguments.picture), picture)
                        arguments.picture = None
                    if arguments.frames and frames >= arguments.frames:
                        why = "enough frames"
                        break
                    if time.time() >= began + arguments.seconds:
                        why = "enough time"
                        break
            break
        except (av.FFmpegError, OSError) as error:
            why = f"{type(error).__name__}: {error}"
            if frames or time.time() >= began + arguments.retry:
                break
            time.sleep(0.02)
    say(event="end", frames=frames, numbers=numbers, at=time.time(), why=why, last_picture=last)
    return 0 if frames else 1


if __name__ == "__main__":
    sys.exit(main())
