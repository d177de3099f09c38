"""The agent's side of the feed's channel: the feed reports, and is told what to show."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sightglass.adapters.channel import Channel


@dataclass(frozen=True, slots=True)
class CameraReport:
    """One camera of the feed: frames published, and `live|stale|blank|connecting`."""

    published: int
    state: str


@dataclass(frozen=True, slots=True)
class Report:
    """The feed's last report. `show` and `seq` confirm the last order: every frame since carries it."""

    cameras: Mapping[str, CameraReport]
    show: bool
    seq: int


class FeedChannel(Channel):
    """`report` is the feed's last one, None before the first."""

    def __init__(self, uid: int, changed: Callable[[], None]) -> None:
        super().__init__("feed", uid, changed)
        self._seq = 0
        self.report: Report | None = None

    def offer(self, job: dict[str, Any]) -> None:
        """From now on a feed that connects gets this job."""
        super().offer(job)
        self.report, self._seq = None, 0

    def heard(self, message: Any) -> None:
        """A report."""
        cameras = {
            str(name): CameraReport(int(seen["published"]), str(seen["state"]))
            for name, seen in message["cameras"].items()
        }
        self.report = Report(cameras, bool(message["show"]), int(message.get("seq", 0)))

    def order_show(self, picture: bool) -> int:
        """Show the picture or a blank slate; returns the number that the confirming report will carry."""
        self._seq += 1
        self.send({"show": picture, "seq": self._seq})
        return self._seq

    def order_keyframe(self, camera: str) -> None:
        """A viewer joins: the next frame of this camera shall be a key frame."""
        self.send({"keyframe": camera})
