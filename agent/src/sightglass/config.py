"""The site's configuration, /etc/sightglass/agent.json. Whatever is wrong with it is one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from sightglass.feed.job import MOST_CELLS, too_fine
from sightglass.sentence import sentence

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]
Port = Annotated[int, Field(ge=1024, le=65535)]
Account = Annotated[str, Field(pattern=r"^[!-~]{1,64}$")]
Seconds = Annotated[float, Field(gt=0, le=3600)]
Topic = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^+#\x00-\x1f]+$")]
Prefix = Annotated[str, Field(max_length=100, pattern=r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$")]
Absolute = Annotated[str, Field(pattern=r"^/[!-~]+$", max_length=200)]
Dotted = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,32}(\.[A-Za-z0-9_-]{1,32}){0,5}$")]
States = Annotated[list[Annotated[str, Field(min_length=1, max_length=64)]], Field(min_length=1, max_length=16)]


class ConfigError(Exception):
    """The configuration cannot be used; the message is one sentence for the person who wrote it."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Camera(_Model):
    """Where the picture comes from (an MJPEG URL), and the lane that must be safe."""

    url: Annotated[str, Field(pattern=r"^http://[A-Za-z0-9.:\[\]-]+(/[!-~]*)?$", max_length=300)]
    lane: Name


class Lane(_Model):
    """How the lane's publisher tells its state: the safe values per purpose and the greatest age of its heartbeat.

    `state_path`: the names that lead to the state in a JSON payload, joined by dots; without it the payload is the
    state. `retained`: whether a state that the broker kept counts (while the heartbeat is fresh). `state_max_age_s`:
    for publishers that repeat their state. `fps_path` leads to the vision's frame rate in the heartbeat, which must not
    stay under `fps_min`.
    """

    state_topic: Topic
    state_path: Dotted | None = None
    state_max_age_s: Seconds | None = None
    retained: bool = True
    safe: States
    safe_debug: States
    heartbeat_topic: Topic
    heartbeat_max_age_s: Seconds = 5.0
    fps_path: Dotted | None = None
    fps_min: Annotated[float, Field(ge=0, le=1000)] = 0.0


class Load(_Model):
    """What a window may cost the site's own work: the broker's answer in ms, and how much of the last 10 s the tasks of
    `unit` (the vision's) may have waited for a processor, in percent. Beyond it for 3 s ends the window."""

    round_trip_ms: Annotated[float, Field(gt=0, le=60_000)] = 1000.0
    unit: Annotated[str, Field(pattern=r"^[A-Za-z0-9:_.@-]{1,100}\.service$")] | None = None
    pressure_percent: Annotated[float, Field(gt=0, le=100)] = 50.0


class Mqtt(_Model):
    """The site's broker, and what is said there.

    `ca_file`: TLS, with a broker whose certificate this CA has signed for `host`. `state_prefix`: the gateway's state
    is retained below it, nothing is said without it; `discovery_prefix`: Home Assistant's, usually `homeassistant`.
    """

    host: Annotated[str, Field(min_length=1, max_length=253)] = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 1883
    username: Annotated[str, Field(pattern=r"^[!-~]{1,128}$")] | None = None
    password_file: Absolute | None = None
    ca_file: Absolute | None = None
    state_prefix: Prefix | None = None
    discovery_prefix: Prefix | None = None

    @model_validator(mode="after")
    def _belongs_together(self) -> Mqtt:
        if self.password_file is not None and self.username is None:
            raise ValueError(f"password_file ({self.password_file}) needs a username")
        if self.discovery_prefix is not None and self.state_prefix is None:
            raise ValueError(f"discovery_prefix ({self.discovery_prefix}) needs a state_prefix: it tells where that is")
        return self


class Tailscale(_Model):
    """This node's tailscaled, and the capability that makes a peer a viewer."""

    socket: Annotated[str, Field(pattern=r"^/[!-~]+$", max_length=100)] = "/run/tailscale/tailscaled.sock"
    interface: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,15}$")] = "tailscale0"
    capability: Annotated[str, Field(pattern=r"^[a-z0-9.-]+/[A-Za-z0-9/_-]+$", max_length=200)]


class Viewers(_Model):
    """What the site demands of a viewer's device beyond the capability; `devices` are VPN node names, none: any."""

    key_must_expire: bool = False
    devices: Annotated[list[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]], Field(max_length=64)] = []


class Ports(_Model):
    """Ports of a window: player, page, WebRTC offers (the console's alone), WebRTC media, and the join check."""

    rtsp: Port = 8554
    console: Port = 8550
    webrtc: Port = 8889
    media: Port = 8189
    hook: Port = 8800

    @model_validator(mode="after")
    def _distinct(self) -> Ports:
        ports = (self.rtsp, self.console, self.webrtc, self.media, self.hook)
        if len(set(ports)) < len(ports):
            raise ValueError(f"each must be another port, not {', '.join(map(str, sorted(ports)))}")
        return self

    def reserved(self) -> tuple[int, ...]:
        """The ports on which nobody but a window's own units may listen."""
        return (self.rtsp, self.console, self.webrtc, self.media)


class LimitsConfig(_Model):
    """Minutes of a window; and in seconds: how long one lives that nobody uses, how long a lane must be safe again, and
    how long the VPN's control plane may be silent."""

    default_minutes: Annotated[int, Field(ge=1)] = 30
    max_minutes: Annotated[int, Field(ge=1, le=1440)] = 120
    nobody_joined_s: Seconds = 600.0
    last_viewer_gone_s: Seconds = 120.0
    lane_settle_s: Annotated[float, Field(ge=0, le=60)] = 2.0
    control_silent_s: Annotated[float, Field(ge=30, le=3600)] = 600.0

    @model_validator(mode="after")
    def _ceiling(self) -> LimitsConfig:
        if self.default_minutes > self.max_minutes:
            raise ValueError(
                f"default_minutes ({self.default_minutes}) must not exceed max_minutes ({self.max_minutes})"
            )
        return self


class Picture(_Model):
    """What leaves the gateway: size in pixels, frames per second, and the mosaic's block in pixels of that size.

    The block may be coarser than the rule, never finer: at most 20 by 12 cells.
    """

    width: Annotated[int, Field(ge=160, le=1280, multiple_of=2)] = 640
    height: Annotated[int, Field(ge=90, le=720, multiple_of=2)] = 360
    fps: Annotated[int, Field(ge=1, le=15)] = 10
    block: Annotated[int, Field(ge=8, le=128)] = 32

    @model_validator(mode="after")
    def _coarse(self) -> Picture:
        if too_fine(self.width, self.height, self.block):
            across, down = MOST_CELLS
            raise ValueError(f"block must leave at most {across} by {down} cells, {self.block} leaves more")
        return self


class Config(_Model):
    """One gateway. A window is of four of its cameras at most (api/shapes.py).

    `shared_accounts` are local accounts that several people use; root is one in any case (who.py).
    """

    site: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    timezone: str = "UTC"
    cameras: Annotated[dict[Name, Camera], Field(min_length=1, max_length=16)]
    lanes: Annotated[dict[Name, Lane], Field(min_length=1, max_length=16)]
    mqtt: Mqtt = Mqtt()
    tailscale: Tailscale
    viewers: Viewers = Viewers()
    ports: Ports = Ports()
    limits: LimitsConfig = LimitsConfig()
    lease_s: Annotated[int, Field(ge=3, le=15)] = 15
    picture: Picture = Picture()
    load: Load = Load()
    shared_accounts: Annotated[list[Account], Field(max_length=64)] = []

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f"must be a time zone such as Europe/Berlin, not {value[:80]!r}") from error
        return value

    @model_validator(mode="after")
    def _lanes_exist(self) -> Config:
        for name, camera in self.cameras.items():
            if camera.lane not in self.lanes:
                raise ValueError(f"cameras.{name}.lane names the lane {camera.lane!r}, which is not configured")
        said = None if self.mqtt.state_prefix is None else f"{self.mqtt.state_prefix}/{self.site}/"
        for name, lane in self.lanes.items():
            for field, topic in (("state_topic", lane.state_topic), ("heartbeat_topic", lane.heartbeat_topic)):
                if said is not None and topic.startswith(said):
                    raise ValueError(f"lanes.{name}.{field} ({topic}) must not be below {said}, which is ours")
        return self


def load(path: Path) -> Config:
    """Read and check a configuration. Raises ConfigError with one sentence: the field, the rule, the value."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    try:
        return Config.model_validate(json.loads(text, object_pairs_hook=_once))
    except ValidationError as error:
        fault: Any = error.errors(include_url=False)[0]
        raise ConfigError(f"{path}: {sentence(fault, whole='the configuration')}") from error
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}: must be JSON: {error}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: must be JSON that can be read: {str(error).partition(';')[0]}") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # JSON lets a later value replace an earlier one in silence: somebody's limit would not be the one that he reads.
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the field {json.dumps(twice[:80])} stands twice")
    return found
