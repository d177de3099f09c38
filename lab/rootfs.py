"""The Debian root that all gateways of a release share as the lowest, read-only layer."""

import subprocess
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lab import cache
from lab.cache import entry, key_of
from lab.paths import LabError


@dataclass(frozen=True)
class Release:
    """A Debian that gateways have: its suite, and its Python as wheels name it."""

    suite: str
    python: str


RELEASES = {12: Release("bookworm", "3.11"), 13: Release("trixie", "3.13")}
PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "libpam-systemd", "openssh-server", "sudo", "nftables"),
    *("mosquitto", "mosquitto-clients", "python3", "tzdata", "ca-certificates"),
    *("iproute2", "iputils-ping", "procps", "kmod", "socat", "curl", "tcpdump", "jq"),
)
_LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")
# Keys, name and machine id must be each gateway's own; the timers would run apt in a place without internet.
_AFTER = r"""
set -eu
rm -f "$1"/etc/ssh/ssh_host_* "$1"/etc/resolv.conf "$1"/etc/hostname "$1"/var/lib/dbus/machine-id
: >"$1"/etc/machine-id
rm -rf "$1"/var/cache/apt/* "$1"/var/lib/apt/lists/* "$1"/var/log/*.log "$1"/var/log/apt
for unit in apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer fstrim.timer \
    systemd-networkd.service systemd-resolved.service systemd-timesyncd.service; do
    ln -sfn /dev/null "$1/etc/systemd/system/$unit"
done
"""


def base(debian: int) -> Path:
    """The root's directory in the cache; made with mmdebstrap when it is missing."""
    suite = RELEASES[debian].suite
    return entry("base", _key(debian), f"Debian root ({suite})", partial(_make, suite)) / "root"


def place(debian: int) -> Path:
    """Its entry in the cache, also before it is made."""
    return cache.place("base", _key(debian))


def _key(debian: int) -> str:
    return key_of(RELEASES[debian].suite, PACKAGES, _LEFT_OUT, _AFTER)


def _make(suite: str, directory: Path) -> None:
    root = directory / "root"
    command = [
        *("mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--components=main"),
        f"--include={','.join(PACKAGES)}",
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in _LEFT_OUT),
        f"--customize-hook={_AFTER_HOOK}",
        *(suite, str(root)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    if done.returncode:
        raise LabError(f"mmdebstrap failed: {done.stderr.strip()[-1500:]}")


_AFTER_HOOK = f"sh -c '{_AFTER}' sh \"$1\""
