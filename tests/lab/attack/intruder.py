"""Somebody on the gateway who tries things: as a user of it, or as one of our own processes that was taken over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lab.host import Host

Attempt = tuple[Any, ...]

SCRIPT = (Path(__file__).parent / "intrude.py").read_text()
OURS = ("feed", "mediamtx", "console", "shutter")
# Not in /run or /tmp, which those sandboxes hide.
_PLACE = "/opt/intruder"
# What makes a unit a part of a window, and the number of its threads. The rest is its sandbox, its user and its weight.
_LIFE = ("BindsTo=", "After=", "Requires=", "Wants=", "RefuseManualStart=", "Type=", "NotifyAccess=", "WatchdogSec=",
         "ExecStart=", "TimeoutStartSec=", "TimeoutStopSec=", "TasksMax=")  # fmt: skip


def as_user(gateway: Host, user: str | None, attempts: list[Attempt]) -> list[str]:
    """The outcomes of attempts by a user of the gateway, in its plain world; None is root."""
    done = gateway.run(["python3", "-c", SCRIPT, json.dumps(attempts)], user=user, timeout=60)
    return _outcomes(done.stdout, attempts)


def in_sandbox(gateway: Host, unit: str, attempts: list[Attempt]) -> list[str]:
    """The same by a process of one of our units: its own file of the unit, with another program in it.

    The unit has another name, so the window that is open keeps its own. Raises HostError when it does not run.
    """
    name = f"intruder-{unit}.service"
    file = f"/run/systemd/system/{name}"
    gateway.run(["mkdir", "-p", _PLACE])
    gateway.run(["tee", f"{_PLACE}/intrude.py"], input=SCRIPT)
    gateway.run(["tee", f"{_PLACE}/attempts.json"], input=json.dumps(attempts))
    gateway.run(
        ["tee", file], input=_unit(gateway.run(["cat", f"/etc/systemd/system/sightglass-{unit}.service"]).stdout)
    )
    try:
        gateway.run(["systemctl", "daemon-reload"])
        gateway.run(["systemctl", "start", name], timeout=90)
        return _outcomes(gateway.run(["cat", f"{_PLACE}/answer.json"]).stdout, attempts)
    finally:
        gateway.run(["rm", "-rf", file, _PLACE])
        gateway.run(["systemctl", "daemon-reload"])
        gateway.run(["systemctl", "reset-failed", name], check=False)


def _unit(text: str) -> str:
    lines = text.replace("\\\n", " ").splitlines()
    kept = [line for line in lines if not line.startswith(_LIFE)]
    at = kept.index("[Service]") + 1
    # systemd opens these itself, before the sandbox is there.
    kept[at:at] = [
        "Type=oneshot", "TimeoutStartSec=60", f"StandardInput=file:{_PLACE}/attempts.json",
        f"StandardOutput=truncate:{_PLACE}/answer.json", "StandardError=journal",
        f"ExecStart=/usr/bin/python3 {_PLACE}/intrude.py",
    ]  # fmt: skip
    if not any(line.startswith("ExecPaths=") and " /usr/bin " in line for line in kept):
        # The stream server's sandbox executes the stream server only, and no Python.
        kept.append("ExecPaths=/usr")
    return "\n".join(kept) + "\n"


def _outcomes(text: str, attempts: list[Attempt]) -> list[str]:
    found: list[str] = json.loads(text)
    assert len(found) == len(attempts), found
    return found
