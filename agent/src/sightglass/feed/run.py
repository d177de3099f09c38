"""The feed's one loop: orders in, reports out, and the watchdog as long as every worker gets on."""

from __future__ import annotations

import os
import selectors
import time
from collections.abc import Mapping, Sequence

from sightglass.feed.capture import Source
from sightglass.feed.channel import Channel
from sightglass.feed.job import BadMessageError, Job, View, parse_line, parse_order, report_line
from sightglass.feed.worker import Worker
from sightglass.sdnotify import notify

REPORT_S = 0.2
PROGRESS_S = 1.5
_GOODBYE_S = 0.3


def run(channel: Channel, job: Job, sources: Mapping[str, Source]) -> None:
    """Work on `job` until the agent ends the channel.

    Errors: PublishError when a stream server stays away, ChannelError and BadMessageError when the agent misbehaves.
    """
    wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def changed() -> None:
        try:
            os.write(wake_write, b"x")
        except BlockingIOError:
            return  # the loop is woken already

    view = View(True, 0)
    workers = {c.name: Worker(job, c, sources[c.name], view, changed) for c in job.cameras}
    for worker in workers.values():
        worker.start()
    try:
        _loop(channel, workers, wake_read)
    finally:
        _end(list(workers.values()))


def _loop(channel: Channel, workers: Mapping[str, Worker], wake: int) -> None:
    selector = selectors.DefaultSelector()
    selector.register(channel.sock, selectors.EVENT_READ)
    selector.register(wake, selectors.EVENT_READ)
    due = time.monotonic()
    while True:
        for key, _ in selector.select(max(0.0, due - time.monotonic())):
            if key.fileobj == wake:
                os.read(wake, 4096)
                due = 0.0
                continue
            lines = channel.read_lines()
            if lines is None:
                return
            for line in lines:
                _obey(line, workers)
        for worker in workers.values():
            if worker.failure is not None:
                raise worker.failure
        now = time.monotonic()
        if now >= due:
            due = now + REPORT_S
            _report(channel, workers, now)


def _obey(line: bytes, workers: Mapping[str, Worker]) -> None:
    order = parse_order(parse_line(line))
    if isinstance(order, View):
        for worker in workers.values():
            worker.show(order)
    elif order.camera in workers:
        workers[order.camera].key_frame()
    else:
        raise BadMessageError(f"keyframe must name a camera of the job, not {order.camera!r}")


def _report(channel: Channel, workers: Mapping[str, Worker], now: float) -> None:
    reports = {name: worker.report() for name, worker in workers.items()}
    # An order is in force when the slowest camera carries it out.
    view = min((confirmed for _, confirmed in reports.values()), key=lambda confirmed: confirmed.seq)
    channel.send(report_line({name: report for name, (report, _) in reports.items()}, view))
    # Only a worker's progress feeds the watchdog: mux() blocks for ever when the stream server stands still.
    if all(worker.progressed(now) <= PROGRESS_S for worker in workers.values()):
        notify("WATCHDOG=1")


def _end(workers: Sequence[Worker]) -> None:
    """Give the workers a moment to say goodbye; who is stuck ends with the process."""
    deadline = time.monotonic() + _GOODBYE_S
    for worker in workers:
        worker.stop()
    for worker in workers:
        worker.join(max(0.0, deadline - time.monotonic()))
