"""Puts the parts together: camera and detection in threads, everything that talks in one event loop."""

import argparse
import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import cv2

from .camera import Camera, Shot
from .control import Control
from .detect import DetectorThread, PlateDetector
from .mjpeg import MjpegServer
from .mqtt import Message, Publisher, heartbeat
from .scene import Scene

_LOG = logging.getLogger("parking")
_END_S = 3.0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="parking", description="A parking's camera, plate detection and MQTT states.")
    parser.add_argument("--seed", type=int, default=1, help="of the scene")
    parser.add_argument("--port", type=int, default=8000, help="of the MJPEG server on 127.0.0.1")
    parser.add_argument("--control", type=Path, default=Path("/run/parking/control"), help="path of the control socket")
    parser.add_argument("--mqtt-host", default="127.0.0.1")
    parser.add_argument("--mqtt-port", type=int, default=1883)
    return parser.parse_args()


async def _run(options: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    server = MjpegServer()
    detector = DetectorThread(PlateDetector())
    shots: asyncio.Queue[Shot] = asyncio.Queue(maxsize=2)

    def arrive(shot: Shot) -> None:
        if shots.full():
            shots.get_nowait()
        shots.put_nowait(shot)

    camera = Camera(
        Scene(options.seed), detector, lambda shot: _quietly(loop, arrive, shot), lambda: server.clients > 0
    )
    publisher = Publisher(options.mqtt_host, options.mqtt_port, lambda: _beat(camera, detector))

    async def distribute() -> None:
        while True:
            shot = await shots.get()
            publisher.update(shot.facts)
            if shot.jpeg:
                await server.show(shot.jpeg)

    def status() -> dict[str, object]:
        return {
            "frame": camera.number,
            "lane": camera.mode,
            "fps": round(camera.fps(), 1),
            "camera": "freeze" if camera.frozen else "run",
            "detections": detector.total,
        }

    control = Control(camera.set_lane, camera.set_frozen, status)
    listening = [await server.serve("127.0.0.1", options.port), await control.serve(options.control)]
    filming = threading.Thread(target=_until_death, args=(camera,), name="camera", daemon=True)
    filming.start()
    _LOG.info("parking: started, seed %d", options.seed)
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, stop.set)
    tasks = [asyncio.create_task(work) for work in (distribute(), publisher.run(), stop.wait())]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    if not stop.is_set():
        failed = next(task for task in tasks if task.done())
        failed.result()
    _LOG.info("parking: stopped after %d frames", camera.number)
    camera.stop()
    await asyncio.to_thread(filming.join, _END_S)
    await asyncio.to_thread(detector.stop)
    for listener in listening:
        listener.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _beat(camera: Camera, detector: DetectorThread) -> Message:
    return heartbeat(camera.number, camera.fps(), detector.total)


def _quietly(loop: asyncio.AbstractEventLoop, arrive: Callable[[Shot], None], shot: Shot) -> None:
    """Hands a shot to the loop; once that is closed, the program is ending and nobody wants it."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(arrive, shot)


def _until_death(camera: Camera) -> None:
    """A parking without a picture must not look alive: the unit restarts it."""
    try:
        camera.run()
    except Exception:  # noqa: BLE001
        _LOG.exception("camera: failed")
        os._exit(1)


def main() -> None:
    """Runs until SIGTERM."""
    logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
    cv2.setNumThreads(1)
    asyncio.run(_run(_arguments()))
