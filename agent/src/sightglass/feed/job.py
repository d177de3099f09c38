"""What the agent may tell the feed, and what the feed answers: shapes and bounds, no I/O."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
WINDOW = re.compile(r"w-[A-Za-z0-9._-]{1,61}")
MAX_CAMERAS = 4  # job and report of all of them stay below the 4096 bytes of one line

State = Literal["live", "stale", "blank", "connecting"]


MOST_CELLS = (20, 12)
"""Of a mosaic, across and down: at 640x360 blocks of 32 pixels."""


def too_fine(width: int, height: int, block: int) -> bool:
    """Whether a mosaic would show more than it may. The same rule for the site's configuration and for the job."""
    return -(-width // block) > MOST_CELLS[0] or -(-height // block) > MOST_CELLS[1]


class FeedError(Exception):
    """What ends the feed; the text is fit for the log: one sentence, no credential."""


class BadMessageError(FeedError):
    """A line from the agent that breaks a rule; the text names field, rule and value, never a publish address."""


@dataclass(frozen=True)
class Camera:
    """One camera: where its MJPEG comes from and where its picture goes (the latter holds a credential)."""

    name: str
    source: str
    publish: str = field(repr=False)


@dataclass(frozen=True)
class Job:
    """One window's work; sizes in pixels, fps in frames a second, block = edge of a mosaic cell in pixels."""

    window: str
    width: int
    height: int
    fps: int
    block: int
    cameras: tuple[Camera, ...]


@dataclass(frozen=True)
class View:
    """Whether pictures may be shown, and the number of the order that said so (0 = none yet: they may)."""

    show: bool
    seq: int


@dataclass(frozen=True)
class KeyFrame:
    """Somebody joins `camera`: send a key frame."""

    camera: str


@dataclass(frozen=True)
class CameraReport:
    """One camera: frames published, and what they show."""

    published: int
    state: State


def parse_line(line: bytes) -> Mapping[str, object]:
    """One JSON object; BadMessageError when it is anything else."""
    try:
        message = json.loads(line)
    except ValueError:
        raise BadMessageError("a message must be one JSON object in UTF-8 on one line") from None
    if not isinstance(message, dict):
        raise BadMessageError(f"a message must be a JSON object, not {type(message).__name__}")
    return message


def parse_job(message: Mapping[str, object]) -> Job:
    """The first message, `{"job": {...}}`."""
    _only(message, "the first message", {"job"})
    raw = message["job"]
    if not isinstance(raw, dict):
        raise BadMessageError(f"job must be an object, not {type(raw).__name__}")
    _only(raw, "job", {"window", "width", "height", "fps", "block", "cameras"})
    window = raw.get("window")
    if not isinstance(window, str) or not WINDOW.fullmatch(window):
        raise BadMessageError(f"job.window must match {WINDOW.pattern}, not {window!r}")
    cameras = raw.get("cameras")
    if not isinstance(cameras, list) or not 1 <= len(cameras) <= MAX_CAMERAS:
        raise BadMessageError(f"job.cameras must be a list of 1 to {MAX_CAMERAS} cameras")
    parsed = tuple(_camera(item, f"job.cameras[{index}]") for index, item in enumerate(cameras))
    if len({camera.name for camera in parsed}) != len(parsed):
        raise BadMessageError("job.cameras must have different names")
    # x264 takes 4:2:0 pictures, whose sides are even.
    width, height = _integer(raw, "width", 160, 1920, even=True), _integer(raw, "height", 90, 1080, even=True)
    block = _integer(raw, "block", 8, 128)
    if too_fine(width, height, block):
        raise BadMessageError(f"job.block must leave at most {MOST_CELLS[0]} by {MOST_CELLS[1]} cells, not {block}")
    return Job(
        window=window,
        width=width,
        height=height,
        fps=_integer(raw, "fps", 1, 30),
        block=block,
        cameras=parsed,
    )


def parse_order(message: Mapping[str, object]) -> View | KeyFrame:
    """A later message: `{"show": bool, "seq": n}` or `{"keyframe": camera}`."""
    if set(message) == {"show", "seq"}:
        show, seq = message["show"], message["seq"]
        if not isinstance(show, bool):
            raise BadMessageError(f"show must be true or false, not {show!r}")
        if not isinstance(seq, int) or isinstance(seq, bool) or not 0 < seq < 2**53:
            raise BadMessageError(f"seq must be a whole number above 0, not {seq!r}")
        return View(show, seq)
    if set(message) == {"keyframe"}:
        camera = message["keyframe"]
        if not isinstance(camera, str) or not NAME.fullmatch(camera):
            raise BadMessageError(f"keyframe must name a camera ({NAME.pattern}), not {camera!r}")
        return KeyFrame(camera)
    raise BadMessageError(f"an order must have the keys show and seq, or keyframe, not {sorted(map(str, message))}")


def report_line(cameras: Mapping[str, CameraReport], view: View) -> bytes:
    """The feed's report; `view` is confirmed: every frame written since carries it."""
    body = {name: vars(report) for name, report in cameras.items()}
    return json.dumps({"cameras": body, "show": view.show, "seq": view.seq}, separators=(",", ":")).encode() + b"\n"


def _only(value: Mapping[str, object], what: str, keys: set[str]) -> None:
    if set(value) != keys:
        raise BadMessageError(f"{what} must have exactly the keys {sorted(keys)}, not {sorted(map(str, value))}")


def _integer(raw: Mapping[str, object], key: str, low: int, high: int, *, even: bool = False) -> int:
    value = raw[key]
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high or (even and value % 2):
        kind = "an even number" if even else "a whole number"
        raise BadMessageError(f"job.{key} must be {kind} from {low} to {high}, not {value!r}")
    return value


def _camera(item: object, where: str) -> Camera:
    if not isinstance(item, dict):
        raise BadMessageError(f"{where} must be an object, not {type(item).__name__}")
    _only(item, where, {"name", "source", "publish"})
    name, source, publish = item["name"], item["source"], item["publish"]
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise BadMessageError(f"{where}.name must match {NAME.pattern}, not {name!r}")
    if not isinstance(source, str) or not _is_url(source, "http"):
        raise BadMessageError(f"{where}.source must be http://HOST[:PORT]/PATH without user or password")
    if not isinstance(publish, str) or not _is_url(publish, "rtsp", credential=True):
        raise BadMessageError(f"{where}.publish must be rtsp://USER:PASSWORD@HOST[:PORT]/PATH")
    return Camera(name, source, publish)


def _is_url(text: str, scheme: str, *, credential: bool = False) -> bool:
    try:
        url = urlsplit(text)
        _ = url.port
    except ValueError:
        return False
    printable = text.isascii() and text.isprintable() and " " not in text
    return printable and url.scheme == scheme and bool(url.hostname) and (url.password is not None) == credential
