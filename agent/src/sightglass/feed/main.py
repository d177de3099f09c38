"""The command `sightglass-feed`."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import threading
import traceback

from sightglass.feed.capture import Source
from sightglass.feed.channel import Channel
from sightglass.feed.job import FeedError, parse_job, parse_line
from sightglass.sdnotify import notify

log = logging.getLogger("sightglass.feed")

_JOB_S = 10.0


def main() -> None:
    """Connect to the agent, take the job, publish until the channel ends. Exits 0 then, 1 on any failure."""
    parser = argparse.ArgumentParser(description="Publish the pictures of one window (started by systemd).")
    parser.add_argument("--channel", default="/run/sightglass-feed.sock", help="the agent's socket")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    threading.excepthook = _crash
    code = 1
    try:
        _work(arguments.channel)
        code = 0
    except BaseException as error:  # noqa: BLE001 - an uncaught one would be printed with its text, see _say
        _say(error)
    # Not sys.exit: a thread inside FFmpeg may never come back, and the interpreter's end would wait for it.
    logging.shutdown()
    os._exit(code)


def _work(path: str) -> None:
    channel = Channel.connect(path, _JOB_S)
    line = channel.first_line(_JOB_S)
    if line is None:
        return
    job = parse_job(parse_line(line))
    # The sources need no OpenCV: they connect while it is loaded, which takes longer than anything else at the start.
    sources = {camera.name: Source(camera.name, camera.source) for camera in job.cameras}
    for source in sources.values():
        source.start()
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # numpy would start a thread a core that nobody uses
    from sightglass.feed.run import run

    notify("READY=1")
    run(channel, job, sources)


def _crash(arguments: threading.ExceptHookArgs) -> None:
    if arguments.exc_value is not None:
        _say(arguments.exc_value)
    os._exit(1)


def _say(error: BaseException) -> None:
    """Log `error`: our own with its text, any other by type and place, as its text may hold the publish password."""
    if isinstance(error, FeedError):
        log.error("%s", error)
        return
    place = "".join(traceback.format_tb(error.__traceback__)[-3:])
    log.error("unexpected %s at\n%s", type(error).__name__, place)


if __name__ == "__main__":
    main()
