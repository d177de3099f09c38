"""What a gateway says of itself on its site's broker. No person, no reason and no address is in it. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sightglass.window import State, Window

ONLINE, OFFLINE = "online", "offline"
_OBJECT = re.compile(r"[^A-Za-z0-9_-]")
_LIVES = (State.OPENING, State.OPEN, State.SUSPENDED, State.CLOSING)


@dataclass(frozen=True, slots=True)
class Topics:
    """Where it is said: `state` and `availability` below the site's own prefix; `discovery` is None where it is off."""

    state: str
    availability: str
    discovery: str | None


def topics(prefix: str, site: str, discovery_prefix: str | None) -> Topics:
    """The topics of one site."""
    found = None if discovery_prefix is None else f"{discovery_prefix}/device/sightglass_{_id(site)}/config"
    return Topics(f"{prefix}/{site}/state", f"{prefix}/{site}/availability", found)


def said(
    state: State, window: Window | None, last: Window | None, marks: Sequence[Mapping[str, Any]], until: datetime | None
) -> dict[str, Any]:
    """How things are, without the time since when.

    `cause` is why the picture is suspended, why windows are off, or why the last window ended; `until` the open
    window's deadline (UTC).
    """
    shown = window or (last if state is State.CLOSED else None)
    why = str(marks[0]["cause"]) if window is None and marks else shown.cause if shown is not None else None
    return {
        "state": (State.DISABLED if window is None and marks else state).value,
        "cause": why,
        "purpose": None if window is None else window.purpose.value,
        "cameras": [] if window is None else list(window.cameras),
        "until": None if window is None or until is None else until.isoformat(timespec="seconds"),
    }


def payload(things: Mapping[str, Any], since: datetime) -> bytes:
    """The retained message: JSON, with the time since when it is so."""
    return json.dumps({**things, "since": since.isoformat(timespec="seconds")}).encode()


def discovery(where: Topics, site: str, version: str) -> bytes:
    """One device for Home Assistant's MQTT discovery, with nothing in it that could be sent to: only sensors."""
    of = f"sightglass_{_id(site)}"
    lives = ", ".join(f"'{state.value}'" for state in _LIVES)

    def sensor(kind: str, name: str, label: str, template: str, **more: Any) -> dict[str, Any]:
        return {"p": kind, "unique_id": f"{of}_{name}", "name": label, "value_template": template, **more}

    window = f"{{{{ 'ON' if value_json.state in ({lives}) else 'OFF' }}}}"
    options = [state.value for state in State]
    components = {
        "window": sensor("binary_sensor", "window", "Maintenance window", window, device_class="running"),
        "state": sensor("sensor", "state", "State", "{{ value_json.state }}", device_class="enum", options=options),
        "cause": sensor("sensor", "cause", "Cause", "{{ value_json.cause or 'none' }}"),
        "until": sensor("sensor", "until", "Until", "{{ value_json.until }}", device_class="timestamp"),
    }
    document = {
        "dev": {"ids": [of], "name": f"Sightglass {site}", "sw": version},
        "o": {"name": "sightglass", "sw": version},
        "cmps": components,
        "state_topic": where.state,
        "availability_topic": where.availability,
        "payload_available": ONLINE,
        "payload_not_available": OFFLINE,
        "qos": 1,
    }
    return json.dumps(document).encode()


def _id(site: str) -> str:
    return _OBJECT.sub("_", site)
