"""A gateway: a Debian that boots systemd in nspawn, over an overlay whose upper layer is its disk."""

import os
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

from lab import network
from lab.cgroups import Cgroup
from lab.paths import LabError
from lab.plan import HostPlan
from lab.tailnet import addresses, status, up_words
from lab.wait import until

_REBOOT = 133  # nspawn's exit code for "the container asked to be booted again"
_SOON_S = 2.0
_SOON_TIMES = 5
_SOCKET = "run/tailscale/tailscaled.sock"

# nspawn makes its two cgroups below its caller's, so each gateway must be in one of its own first; and it is given a
# pid namespace of its own, because without one a killed nspawn leaves the container running.
_BOOT = r"""
for f in $1; do echo $$ >"$f"; done
export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1
exec unshare --mount --pid --fork --kill-child --mount-proc --propagation private sh -euc '
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" "$2/root"
exec systemd-nspawn --quiet --register=no --keep-unit --machine="$3" --network-namespace-path="/run/netns/$3" \
  -D "$2/root" --boot --console=pipe --resolv-conf=off --timezone=off --link-journal=no \
  --capability=CAP_NET_ADMIN,CAP_BPF,CAP_SYS_ADMIN --system-call-filter=bpf --bind=/dev/net/tun
' sh "$2" "$3" "$4"
"""


class Gateway:
    """One gateway and the thread that boots it again after a reboot or a power cut."""

    def __init__(self, plan: HostPlan, state: Path, cgroup: Cgroup, lower: list[str], key: str) -> None:
        self.plan = plan
        self.state = state
        self.cgroup = cgroup
        self.lower = ":".join(lower)
        self._disk(key)

    def _disk(self, key: str) -> None:
        for name in ("upper", "work", "root"):
            (self.state / name).mkdir()
        etc = self.state / "upper" / "etc"
        (etc / "ssh" / "authorized_keys.d").mkdir(parents=True)
        (etc / "hostname").write_text(f"{self.plan.name}\n")
        (etc / "ssh" / "authorized_keys.d" / "admin").write_text(key)
        hosts = f"127.0.0.1 localhost {self.plan.name}\n::1 localhost ip6-localhost\n"
        (etc / "hosts").write_text(hosts)
        for directory in (etc.parent, etc, etc / "ssh", etc / "ssh" / "authorized_keys.d"):
            directory.chmod(0o755)

    def start(self) -> None:
        """Returns when its VPN client listens; from then on it is booted whenever it goes down but not off."""
        threading.Thread(target=self._live, daemon=True, name=self.plan.name).start()
        until(lambda: self._root() and (self._in_root() / _SOCKET).exists(), 30, f"tailscaled of {self.plan.name}")

    def join(self, key: str) -> tuple[str, str]:
        """Joins the VPN with the key; returns (IPv4, IPv6) in it. Later boots join by themselves."""
        file = self._in_root() / "run" / "join_key"
        os.close(os.open(file, os.O_CREAT | os.O_WRONLY, 0o600))
        file.write_text(key)
        self._run("tailscale", *up_words(self.plan.name, "/run/join_key"))
        file.unlink()
        return until(lambda: addresses(self.status()), 20, f"VPN addresses of {self.plan.name}")

    def status(self) -> dict[str, Any]:
        """What its VPN client says of itself."""
        return status(self._in_root() / _SOCKET)

    def _live(self) -> None:
        soon = 0
        while soon < _SOON_TIMES:
            start = time.monotonic()
            network.plug(self.plan)
            code = self._boot()
            network.unplug(self.plan)
            self.cgroup.kill(self.plan.name)
            self.cgroup.remove(self.plan.name)
            # Killed counts as a power cut, so it boots again. Powered off stays off.
            if code == 0:
                return
            soon = soon + 1 if code != _REBOOT and time.monotonic() - start < _SOON_S else 0

    def _boot(self) -> int:
        procs = " ".join(map(str, self.cgroup.make(self.plan.name)))
        words = ["sh", "-euc", _BOOT, "sh", procs, self.lower, str(self.state), self.plan.name]
        with (self.state / "console.log").open("ab") as log:
            return subprocess.run(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False).returncode

    def _root(self) -> int | None:
        return self.cgroup.init_pid(f"{self.plan.name}/payload/init.scope")

    def _in_root(self) -> Path:
        return Path(f"/proc/{self._root()}/root")

    def _run(self, *words: str) -> str:
        enter = ["nsenter", "-t", str(self._root()), "-m", "-p", "-n", "-u", "-i", "-C", "env", "-i"]
        path = "PATH=/usr/sbin:/usr/bin:/sbin:/bin"
        done = subprocess.run([*enter, path, *words], capture_output=True, text=True, timeout=70, check=False)
        if done.returncode:
            said = (done.stderr or done.stdout).strip()[-500:]
            raise LabError(f"{self.plan.name}: {' '.join(words[:2])}: {said}")
        return done.stdout
