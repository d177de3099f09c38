"""A gateway with Sightglass on it, as a test speaks of it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.left import left
from lab import Lab, wait
from lab.host import Host
from lab.media import first_frame_at, lane, viewer, watch_command

ROOT = Path(__file__).parents[3]
LEASE_S = 15


@dataclass(frozen=True)
class Site:
    """One gateway of a lab, and the hosts around it."""

    lab: Lab
    gateway: Host
    maintainer: Host

    @property
    def url(self) -> str:
        """Where a viewer finds the picture."""
        return f"rtsp://{self.gateway.vpn4}:8554/cam1"

    @property
    def page(self) -> str:
        """Where a viewer's browser finds it."""
        return f"http://{self.gateway.vpn4}:8550/"

    def sightglass(self, *words: str, timeout: float = 40, user: str | None = None) -> subprocess.CompletedProcess[str]:
        """The gateway's own command; the caller looks at exit code and output."""
        return self.gateway.run(["sightglass", *words], timeout=timeout, check=False, user=user)

    def playing(self, playbook: str, *asked: str, more: tuple[str, ...] = ()) -> list[str]:
        """A playbook's command line as an operator types it, `asked` are its extra variables."""
        extra = [word for one in asked for word in ("-e", one)]
        return ["ansible-playbook", f"ansible/playbooks/{playbook}.yml", *more, *extra]

    def play(
        self, playbook: str, *asked: str, more: tuple[str, ...] = (), timeout: float = 150
    ) -> subprocess.CompletedProcess[str]:
        """Run a playbook on the operators' host; the caller looks at exit code and output."""
        words = self.playing(playbook, *asked, more=more)
        return self.lab.host("ops").run(words, timeout=timeout, check=False, cwd=str(ROOT))

    def wait_reachable(self, seconds: float = 90) -> None:
        """Wait until every gateway answers the operators: a line that was cut comes back when the VPN has noticed."""
        wait.until(lambda: self.play("window_status").returncode == 0, seconds, "every gateway answers the operators")

    def open(self, minutes: int = 5, purpose: str = "debug", **options: str) -> dict[str, Any]:
        """Open a window and return it. Fails the test when it is refused."""
        done = self.ask_open(minutes, purpose, **options)
        assert done.returncode == 0, done.stderr
        window: dict[str, Any] = json.loads(done.stdout)
        assert window["state"] == "open"
        return window

    def ask_open(self, minutes: int = 5, purpose: str = "debug", **options: str) -> subprocess.CompletedProcess[str]:
        """Ask for a window; it may be refused."""
        words = {"camera": "cam1", "reason": "a test looks at it", **options}
        extra = [word for name, value in words.items() for word in (f"--{name.replace('_', '-')}", value)]
        return self.sightglass("open", "--minutes", str(minutes), "--purpose", purpose, *extra, "--json")

    def close(self) -> dict[str, Any]:
        """Close whatever is open."""
        done = self.sightglass("close", "--json")
        assert done.returncode == 0, done.stderr
        window: dict[str, Any] = json.loads(done.stdout)
        return window

    def status(self) -> dict[str, Any]:
        """The agent's own word."""
        done = self.sightglass("status", "--json")
        assert done.returncode == 0, done.stderr
        status: dict[str, Any] = json.loads(done.stdout)
        return status

    def put_back(self) -> None:
        """Enabled and closed again, as far as it is not so already."""
        shown = self.sightglass("status", "--json")
        status = json.loads(shown.stdout) if shown.returncode == 0 else {}
        if (status.get("state"), status.get("disabled")) != ("closed", []):
            for whose in ((), ("--fleet",)):
                self.sightglass("enable", "--reason", "the test is over", *whose)
            self.sightglass("close")

    def left(self) -> list[str]:
        """What of a window is there: processes, listeners, leases. Empty is closed."""
        return left(self.gateway)

    def wait_closed(self, seconds: float = LEASE_S + 10) -> None:
        """Wait until nothing of a window is left, and the agent says so."""
        wait.until(lambda: not self.left(), seconds, "nothing of the window is left")
        wait.until(lambda: self.status()["state"] in ("closed", "disabled"), seconds, "the agent says closed")

    def wait_guards(self, seconds: float = 60) -> None:
        """Wait until every guard says pass and will go on to: a new agent has to hear the lane's next heartbeat first,
        and a vision that was stopped has to be at its rate again, which is of the last five seconds."""

        def content() -> bool:
            shown = self.sightglass("guards", "--json")
            return shown.returncode == 0 and '"outcome": "pass"' in shown.stdout and self._rate() > 6

        wait.until(content, seconds, "every guard says pass")

    def _rate(self) -> float:
        """Frames a second of the site's vision; 10 when it is undisturbed, and the lab's sites demand 5."""
        shown = self.gateway.run(["parking-control", "status"], check=False)
        return float(json.loads(shown.stdout)["fps"]) if shown.returncode == 0 else 0.0

    def events(self, window: str | None = None) -> list[dict[str, Any]]:
        """The receipt's events, of one window or all."""
        done = self.sightglass("receipts", "show", "--all", "--json")
        assert done.returncode == 0, done.stderr
        found: list[dict[str, Any]] = json.loads(done.stdout)["events"]
        return [event for event in found if window in (None, event["window"])]

    def cause(self, window: str) -> str:
        """Why a window ended, by its receipt."""
        return next(str(event["data"]["cause"]) for event in self.events(window) if event["event"] == "cause")

    def verify(self) -> None:
        """The chain is whole."""
        done = self.sightglass("receipts", "verify")
        assert done.returncode == 0, done.stdout + done.stderr

    def lane(self, mode: str) -> None:
        """Let the lane do something, and wait until its publisher says so."""
        lane(self.gateway, mode)

    def parking_frame(self) -> int:
        """How many frames the site's own vision has taken."""
        return int(json.loads(self.gateway.run(["parking-control", "status"]).stdout)["frame"])

    def wait_frames(self, count: int) -> None:
        """Wait until the site's own vision, which takes ten a second, has taken more than so many more frames."""
        frame = self.parking_frame()
        wait.until(lambda: self.parking_frame() > frame + count, 10, f"{count} more of the site's frames")

    def journal_end(self) -> str:
        """Where the journal ends now."""
        shown = self.gateway.run(["journalctl", "-n", "0", "--show-cursor", "--no-pager"]).stdout
        return shown.rpartition(": ")[2].strip()

    def journal(self, since: str, *words: str) -> str:
        """What our units have said since that place, as `journalctl` shows it with these words more."""
        units = ["-u", "sightglass-*"]
        return self.gateway.run(["journalctl", "--no-pager", "--after-cursor", since, *units, *words]).stdout

    def pid(self, unit: str) -> int:
        """The main process of a unit of ours."""
        shown = self.gateway.run(["systemctl", "show", "-P", "MainPID", f"sightglass-{unit}.service"]).stdout
        assert int(shown) > 0, f"sightglass-{unit}.service does not run"
        return int(shown)

    @contextmanager
    def watching(self, seconds: float = 60) -> Iterator[subprocess.Popen[str]]:
        """The maintainer watches while the block runs; the block starts when the first frame was decoded."""
        watching = viewer(self.maintainer, self.url, seconds=seconds, retry=10)
        try:
            first_frame_at(watching)
            yield watching
        finally:
            watching.kill()
            watching.communicate(timeout=5)

    def watch(self, frames: int = 5, url: str | None = None) -> list[int | None]:
        """The source's frame numbers that the maintainer sees. Fails the test when nothing is decoded."""
        command = watch_command(url or self.url, "--frames", str(frames), "--retry", "5")
        done = self.maintainer.run(command, timeout=40, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        numbers: list[int | None] = json.loads(done.stdout.splitlines()[-1])["numbers"]
        return numbers
