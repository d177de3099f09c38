"""The Debian 12 root that all gateways share as the lowest, read-only layer."""

import subprocess
from pathlib import Path

from lab.cache import entry, key_of
from lab.paths import LabError

SUITE = "bookworm"
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


def base() -> Path:
    """The root's directory in the cache; made with mmdebstrap when it is missing."""
    return entry("base", key_of(SUITE, PACKAGES, _LEFT_OUT, _AFTER), f"Debian root ({SUITE})", _make) / "root"


def _make(directory: Path) -> None:
    root = directory / "root"
    command = [
        *("mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--components=main"),
        f"--include={','.join(PACKAGES)}",
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in _LEFT_OUT),
        f"--customize-hook={_AFTER_HOOK}",
        *(SUITE, str(root)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    if done.returncode:
        raise LabError(f"mmdebstrap failed: {done.stderr.strip()[-1500:]}")


_AFTER_HOOK = f"sh -c '{_AFTER}' sh \"$1\""
