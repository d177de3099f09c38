"""What ends a permission, done to a gateway; and the record of it."""

from __future__ import annotations

import json
import time
from datetime import datetime
from typing import Any

from lab import Lab, wait
from lab.agent import post
from lab.control import FOR_EVER, Node, change_policy, write_policy

CAPABILITY = "sightglass.example/cap/view"
_STRANGER = (
    "import socket,time; s=socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('0.0.0.0',8550)); time.sleep(9)"
)


class Ends:
    """A gateway, its viewers, and ways to end a permission. Each way returns when the event happened (Unix seconds)."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.gateway, self.maintainer = lab, lab.host("gw1"), lab.host("maintainer")
        self._policy = ""
        self._node = Node(lab, "maintainer")

    def close(self) -> float:
        """The operator's request."""
        return self._asked("/v1/windows/close", {})

    def disable(self) -> float:
        """Nobody may open any more."""
        return self._asked("/v1/disable", {"reason": "bench: disabled"})

    def deadline(self) -> float:
        """The window's time is over."""
        window = self.status()["window"]
        at = time.time() + float(window["remaining_s"])
        wait.until(lambda: self.status()["state"] == "closed", 70, "the deadline", every_s=0.5)
        return at

    def exposure(self) -> float:
        """Somebody listens on a port of ours."""
        at = time.time()
        self.gateway.popen(["python3", "-c", _STRANGER], user="nobody")
        return at

    def capability(self) -> float:
        """The policy is written without the grant; counted from the acknowledged write."""
        return self.without(CAPABILITY)

    def expired(self) -> float:
        """The viewer's key ends; counted from the control plane's acknowledgement."""
        return self._node.expire()

    def without(self, word: str) -> float:
        """The policy is written without the grants that hold this word."""

        def take(policy: dict[str, Any]) -> None:
            policy["grants"] = [grant for grant in policy["grants"] if word not in json.dumps(grant)]

        self._policy, at = change_policy(self.lab, take)
        return at

    def kill(self, signal: str, *units: str) -> float:
        """Processes of ours die or hang."""
        pids = [
            self.gateway.run(["systemctl", "show", "-P", "MainPID", f"sightglass-{u}"]).stdout.strip() for u in units
        ]
        at = time.time()
        self.gateway.run(["kill", f"-{signal}", *pids])
        return at

    def status(self) -> dict[str, Any]:
        """The agent's word."""
        status: dict[str, Any] = json.loads(self.gateway.run(["sightglass", "status", "--json"]).stdout)
        return status

    def restore(self) -> None:
        """Everything as before a trial."""
        if self._policy:
            write_policy(self.lab, self._policy)
            self._policy = ""
        self._node.expire(FOR_EVER)

        def ready() -> bool:
            self.gateway.run(["sightglass", "enable", "--reason", "bench: enabled"], check=False)
            self.gateway.run(["sightglass", "close"], check=False)
            guards = self.gateway.run(["sightglass", "guards", "--json"], check=False)
            status = json.loads(self.gateway.run(["tailscale", "status", "--json"]).stdout)
            return guards.returncode == 0 and not any(peer.get("Expired") for peer in status["Peer"].values())

        wait.until(ready, 60, "every guard says pass", every_s=0.5)

    def noticed(self, window: str, since: float) -> float:
        """When the agent knew: its log's line of the first change of state since then, which it writes before it acts.
        An agent that was killed knows nothing; then it is the first record of an end. A viewer alone has a record only.
        Raises ValueError when there is neither yet.
        """
        shown = ["journalctl", "-u", "sightglass-agent", "--since", f"@{since - 1:.0f}", "-o", "json", "--no-pager"]
        lines = map(json.loads, self.gateway.run(shown).stdout.splitlines())
        said = [int(line["__REALTIME_TIMESTAMP"]) / 1e6 for line in lines if _changes(str(line["MESSAGE"]))]
        return min(at for at in (*said, *self.recorded(window, "cause", "left")) if at > since - 0.1)

    def recorded(self, window: str, *names: str) -> list[float]:
        """When the agent recorded these events of a window (Unix seconds)."""
        done = self.gateway.run(["sightglass", "receipts", "show", "--all", "--json"], check=False)
        events = json.loads(done.stdout)["events"] if done.returncode == 0 else []
        found = [event for event in events if event["window"] == window and event["event"] in names]
        return [datetime.fromisoformat(event["at"]).timestamp() for event in found]

    def _asked(self, path: str, body: dict[str, Any]) -> float:
        # Not by the command: its own start, some 0.3 s, is no part of the cut.
        ((status, answer, at),) = post(self.gateway, (path, body))
        if status >= 300:
            raise ValueError(f"{path}: {answer}")
        return at


def _changes(line: str) -> bool:
    return line.startswith("window: ") and (" -> closing" in line or " -> suspended" in line)
