"""Wiring: the parts of the agent in the order in which they are made. No module imports it."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import logging
import os
import pwd
import signal
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sightglass import announcement
from sightglass.adapters import broker, clock
from sightglass.adapters.announcer import Announcer
from sightglass.adapters.console import ConsoleChannel
from sightglass.adapters.feed import FeedChannel
from sightglass.adapters.lanes import LaneListener
from sightglass.adapters.listen import listen_fds
from sightglass.adapters.load import LoadWatch
from sightglass.adapters.pins import Pins
from sightglass.adapters.tailnet import Tailnet
from sightglass.agent import Agent
from sightglass.api.server import serve
from sightglass.config import Config, ConfigError, load
from sightglass.desk import Desk
from sightglass.live import SERVER_CONFIG, Parts
from sightglass.observer import Observer
from sightglass.sdnotify import notify
from sightglass.store import Store

CONFIG = Path("/etc/sightglass/agent.json")
PINS = Path("/etc/sightglass/pins.d")
STATE = Path("/var/lib/sightglass")
RUN = Path("/run/sightglass")
SHUTTER_SOCKET = "/run/sightglass-shutter.sock"

log = logging.getLogger("sightglass")


def main() -> None:
    """`sightglass-agent [--check FILE]`: run under systemd, or check a configuration (exit 0 or 2)."""
    parser = argparse.ArgumentParser(prog="sightglass-agent", description="The agent of a Sightglass gateway.")
    parser.add_argument("--check", metavar="FILE", type=Path, help="check a configuration file and exit")
    checked: Path | None = parser.parse_args().check
    try:
        config = load(checked or CONFIG)
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
    if checked is None:
        logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
        for noisy in ("httpx", "httpcore", "uvicorn"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
        # It warns of each message that it drops, and a flood must not reach the journal.
        logging.getLogger("mqtt").setLevel(logging.ERROR)
        asyncio.run(run(config))


async def run(config: Config) -> None:
    """Run the agent until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().set_exception_handler(_fault)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    fds = listen_fds()
    missing = {"api", "feed", "console"} - fds.keys()
    if missing:
        raise SystemExit(f"sightglass-agent: systemd did not pass the socket {min(missing)!r}")
    users = {
        "agent": os.getuid(),
        "mediamtx": pwd.getpwnam("sightglass-mediamtx").pw_uid,
        "feed": pwd.getpwnam("sightglass-feed").pw_uid,
        "console": pwd.getpwnam("sightglass-console").pw_uid,
        "shutter": pwd.getpwnam("sightglass-shutter").pw_uid,
    }
    try:
        store = Store(STATE, clock.boot_id())
    except OSError as error:
        # Somebody put a copy back that belongs to root. Without a record there is no window.
        raise SystemExit(f"sightglass-agent: {error.filename or STATE}: {error.strerror}") from error
    # The loop does not exist yet when its parts are made; each of them only needs to wake it.
    awake = asyncio.Event()
    parts, lanes = assemble(config, users, awake.set)
    parts.observer.floor = store.newest()
    agent = Agent(parts, store, changed=awake)
    agent.beat = lambda: notify("WATCHDOG=1")
    desk = Desk(agent)
    desk.recover()
    api_stop = asyncio.Event()
    tasks = [
        asyncio.create_task(lanes.run(), name="lanes"),
        asyncio.create_task(parts.feed.serve(fds["feed"], api_stop), name="feed"),
        asyncio.create_task(parts.console.serve(fds["console"], api_stop), name="console"),
        asyncio.create_task(serve(desk, fds["api"], api_stop), name="api"),
    ]
    if config.mqtt.state_prefix is not None:
        announcer = _announcer(agent, config.mqtt.state_prefix)
        agent.turned = announcer.look
        tasks.append(asyncio.create_task(announcer.run(), name="announcer"))
    loop = asyncio.create_task(agent.run(stop), name="loop")
    notify("READY=1")
    log.info("agent: ready, %s", agent.machine.state.value)
    try:
        # A part that ends is a fault: systemd starts the agent anew, and a new agent starts closed.
        done, _ = await asyncio.wait([loop, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            if task is not loop or task.exception():
                raise SystemExit(f"sightglass-agent: {task.get_name()} has ended: {task.exception()!r}")
    finally:
        notify("STOPPING=1")
        api_stop.set()
        for task in (loop, *tasks):
            task.cancel()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(loop, *tasks, return_exceptions=True), 2)
        await parts.tailnet.close()


def assemble(config: Config, users: dict[str, int], changed: Callable[[], None]) -> tuple[Parts, LaneListener]:
    """What windows are made of, and what listens to the lanes; nothing of it runs yet. `changed` wakes the loop."""
    tailnet = Tailnet(config.tailscale.socket, config.tailscale.interface, config.tailscale.capability)
    load_watch = LoadWatch(config, clock.boottime)
    lanes = LaneListener(config.mqtt, config.lanes, clock.boottime, changed, load_watch.rate)
    observer = Observer(
        config=config,
        tailnet=tailnet,
        lanes=lanes,
        load=load_watch,
        pins=Pins(PINS),
        users=frozenset(users.values()),
        server_config=RUN / SERVER_CONFIG,
        changed=changed,
    )
    feed, console = FeedChannel(users["feed"], changed), ConsoleChannel(users["console"], changed)
    return Parts(config, observer, tailnet, feed, console, users, RUN, SHUTTER_SOCKET), lanes


def _announcer(agent: Agent, prefix: str) -> Announcer:
    config, ours = agent.config, version("sightglass")
    where = announcement.topics(prefix, config.site, config.mqtt.discovery_prefix)
    document = announcement.discovery(where, config.site, ours)
    name = broker.identifier(config.site)
    return Announcer(config.mqtt, name, where, agent.said, document, clock.boottime, clock.wall)


def _fault(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A fault in a callback of the loop, with its trace, but for one of the MQTT library's: after a host stood still it
    asks to write to a socket that it has just closed."""
    error = context.get("exception")
    if isinstance(error, OSError) and error.errno == errno.EBADF:
        log.warning("a callback came too late: %s", error)
    else:
        loop.default_exception_handler(context)


if __name__ == "__main__":
    main()
