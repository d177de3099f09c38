"""The command `sightglass-console`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import socket
import sys

import uvicorn

from sightglass.console.app import make
from sightglass.console.board import Board
from sightglass.console.news import Job, NewsError, parse_job, parse_news
from sightglass.console.offers import Offers
from sightglass.httpserver import HangUps, Prompt, Server
from sightglass.sdnotify import notify

JOB_S = 10.0
BEAT_S = 1.0
LINE_BYTES = 16_384
GONE_MS = 8_000
"""After so long without an acknowledgement a browser is gone. It hears a beat every 2 s; the kernel's own patience is a
quarter of an hour, in which a phone whose battery is empty would count as watching, and keep the window open."""


def main() -> None:
    """Connect to the agent, take the job, serve until the channel ends. Exits 0 then, 1 on any failure."""
    parser = argparse.ArgumentParser(description="Serve the page of one window (started by systemd).")
    parser.add_argument("--channel", default="/run/sightglass-console.sock", help="the agent's socket")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for noisy in ("httpx", "httpcore", "uvicorn"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        asyncio.run(_work(arguments.channel))
    except (NewsError, OSError, TimeoutError) as error:
        sys.exit(f"sightglass-console: {error or type(error).__name__}")


async def _work(path: str) -> None:
    reader, writer = await asyncio.open_unix_connection(path, limit=LINE_BYTES)
    job = parse_job(await asyncio.wait_for(reader.readline(), JOB_S))
    changed = asyncio.Event()
    board, offers = Board(job, changed.set), Offers(job)
    listener = _listen(job)
    config = uvicorn.Config(
        HangUps(make(board, offers)),
        http=Prompt, ws="none", loop="asyncio", lifespan="off", log_config=None, log_level="error",
        proxy_headers=False, access_log=False, server_header=False, limit_concurrency=64, timeout_keep_alive=5,
        timeout_graceful_shutdown=0, h11_max_incomplete_event_size=16_384,
    )  # fmt: skip
    server = Server(config)  # SIGTERM at the window's end simply ends the process: there is nothing to finish
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="server")
    reporting = asyncio.create_task(_report(board, writer, changed), name="report")
    hearing = asyncio.create_task(_hear(board, reader, writer), name="channel")
    beating = asyncio.create_task(_beat(), name="watchdog")
    notify("READY=1")
    changed.set()
    try:
        done, _ = await asyncio.wait([serving, reporting, hearing], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in (serving, reporting, hearing, beating):
            task.cancel()
        writer.transport.abort()
        await offers.close()


async def _beat() -> None:
    while True:
        notify("WATCHDOG=1")
        await asyncio.sleep(BEAT_S)


def _listen(job: Job) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, GONE_MS)  # each connection takes it over
    listener.bind((str(job.address), job.port))
    listener.listen(32)
    return listener


async def _hear(board: Board, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The agent's lines, until it hangs up; each is confirmed when the pages have it."""
    while line := await reader.readline():
        news = parse_news(line)
        await board.publish(news)
        board.later(_confirm(board, writer, news.seq))


async def _confirm(board: Board, writer: asyncio.StreamWriter, seq: int) -> None:
    # Whoever does not read for so long is told by the end of its connection.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(1):
            await board.told(seq)
            writer.write(json.dumps({"told": seq}).encode() + b"\n")


async def _report(board: Board, writer: asyncio.StreamWriter, changed: asyncio.Event) -> None:
    """Tell the agent who has a page open, at each change."""
    while True:
        await changed.wait()
        changed.clear()
        watching = sorted({str(page.viewer) for page in board.pages.values()})
        writer.write(json.dumps({"watching": watching}).encode() + b"\n")
        await writer.drain()


if __name__ == "__main__":
    main()
