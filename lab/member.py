"""A VPN member that is a network namespace of the machine: ops, maintainer, member."""

import os
import subprocess
from pathlib import Path
from typing import Any

from lab.paths import LabError
from lab.plan import HostPlan
from lab.tailnet import addresses, status, up_words
from lab.wait import until

# DERP speaks https even to an http control server unless told otherwise; the rest keeps a client from looking for
# the vendor's servers, routers and logs, none of which exist here.
TAILSCALED_ENV = {
    "TS_DEBUG_USE_DERP_HTTP": "1",
    "TS_NO_LOGS_NO_SUPPORT": "1",
    "TS_DISABLE_PORTMAPPER": "1",
    "TS_DEBUG_FIREWALL_MODE": "nftables",
    "TS_PANIC_IF_HIT_MAIN_CONTROL": "1",
}
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


class Member:
    """tailscaled of one namespace, with everything it writes in the host's state directory."""

    def __init__(self, plan: HostPlan, state: Path, binaries: dict[str, str]) -> None:
        self.plan = plan
        self.state = state
        self.binaries = binaries
        self.socket = state / "tailscaled.sock"

    def start(self) -> None:
        # So that `tailscale status` on this host needs no option.
        wrapper = self.state / "bin" / "tailscale"
        wrapper.parent.mkdir()
        wrapper.write_text(f'#!/bin/sh\nexec {self.binaries["tailscale"]} --socket={self.socket} "$@"\n')
        wrapper.chmod(0o755)
        words = [
            *("ip", "netns", "exec", self.plan.name, self.binaries["tailscaled"], "--no-logs-no-support"),
            *(f"--statedir={self.state / 'tailscale'}", f"--socket={self.socket}", "--port=41641", "--tun=tailscale0"),
        ]
        with (self.state / "tailscaled.log").open("ab") as log:
            subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={"PATH": _PATH, **TAILSCALED_ENV}
            )
        until(self.socket.exists, 20, f"tailscaled of {self.plan.name}")

    def join(self, key: str) -> tuple[str, str]:
        """Joins with the key; returns (IPv4, IPv6) in the VPN."""
        file = self.state / "join_key"
        os.close(os.open(file, os.O_CREAT | os.O_WRONLY, 0o600))
        file.write_text(key)
        self._tailscale(*up_words(self.plan.name, str(file)))
        file.unlink()
        what = f"VPN addresses of {self.plan.name}"
        return until(lambda: addresses(self.status()), 20, what)

    def status(self) -> dict[str, Any]:
        """What its VPN client says of itself."""
        return status(self.socket)

    def _tailscale(self, *words: str) -> str:
        command = [self.binaries["tailscale"], f"--socket={self.socket}", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=70, env={"PATH": _PATH}, check=False)
        if done.returncode:
            raise LabError(f"{self.plan.name}: tailscale {words[0]}: {(done.stderr or done.stdout).strip()[-500:]}")
        return done.stdout
