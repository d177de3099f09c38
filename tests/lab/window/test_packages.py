"""What the roles install goes with them, whole, and nothing else does: on a blank gateway without nftables."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lab import Lab
from tests.lab.window.site_under_test import Site

OURS = ("nftables", "libnftables1", "libnftnl11")
NOTE = "/etc/sightglass/installed-packages"
# A package source on the gateway, made from packages that it has and then has no more; and `monitor`, which is somebody
# else's and needs one of them.
_SOURCE = r"""
set -eu
mkdir -p /srv/packages && cd /srv/packages
for package in "$@"; do
    root=$(mktemp -d) && chmod 755 "$root" && mkdir "$root/DEBIAN"
    dpkg -s "$package" | sed -e '/^Status:/d' -e '/^Conffiles:/,/^ /d' >"$root/DEBIAN/control"
    for kind in postinst postrm conffiles triggers shlibs; do
        for file in /var/lib/dpkg/info/"$package".$kind /var/lib/dpkg/info/"$package":*.$kind; do
            if [ -e "$file" ]; then cp "$file" "$root/DEBIAN/$kind"; fi
        done
    done
    dpkg -L "$package" | while read -r file; do if [ ! -d "$file" ]; then echo "$file"; fi; done |
        tar -c --ignore-failed-read -T - 2>/dev/null | tar -x -C "$root"
    dpkg-deb -b "$root" "$package.deb" >/dev/null
done
root=$(mktemp -d) && chmod 755 "$root" && mkdir "$root/DEBIAN"
cat >"$root/DEBIAN/control" <<END
Package: monitor
Version: 1
Architecture: all
Maintainer: the site
Depends: libnftnl11
Description: of the site
END
dpkg-deb -b "$root" /srv/monitor.deb >/dev/null
for deb in *.deb; do
    dpkg-deb -f "$deb"
    printf 'Filename: ./%s\nSize: %s\nSHA256: ' "$deb" "$(stat -c %s "$deb")"
    sha256sum "$deb" | cut -d ' ' -f 1
    echo
done >Packages
echo 'deb [trusted=yes] file:/srv/packages ./' >/etc/apt/sources.list
dpkg --purge "$@" >/dev/null
apt-get -q update
"""


def installed(site: Site) -> set[str]:
    """Names of the packages that are there, or have left their settings."""
    lines = site.gateway.run(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n"]).stdout.splitlines()
    return {line.removesuffix(" installed") for line in lines}


@pytest.mark.requirement("U1")
@pytest.mark.requirement("F1")
@pytest.mark.timeout(600, func_only=True)  # a lab, two runs of the role, a removal
def test_packages_are_noted_before_they_come_and_go_with_the_roles(fresh_lab: Callable[..., Lab]) -> None:
    """Also when the run that installs them breaks off, and with their settings; what somebody else needs stays."""
    lab = fresh_lab()
    site = Site(lab, lab.host("gw1"), lab.host("maintainer"))
    shell, role = site.gateway.run, ("--tags", "sightglass_nftables", "--limit", "gw1")
    shell(["sh", "-c", _SOURCE, "sh", *OURS], timeout=60)
    before = installed(site)
    assert not before & set(OURS), "the control: the gateway has none of them"

    # A technician's account, by a name that lies near.
    shell(["useradd", "--create-home", "--shell", "/bin/bash", "sightglass"])
    mine = shell(["getent", "passwd", "sightglass"]).stdout
    refused = site.play("site", more=role)
    assert refused.returncode == 2
    assert f"somebody else has {mine.strip()}: give that account another name" in " ".join(refused.stdout.split())
    assert shell(["getent", "passwd", "sightglass"]).stdout == mine
    assert installed(site) == before
    shell(["userdel", "--remove", "sightglass"])

    # Not installed, and what comes afterwards by the site's own hand is not ours.
    shell(["sh", "-c", """echo 'DPkg::Pre-Invoke { "false"; };' >/etc/apt/apt.conf.d/99broken"""])
    nothing = site.play("site", more=role)
    assert nothing.returncode == 2, nothing.stdout[-3000:]
    assert installed(site) == before
    assert shell(["cat", NOTE]).stdout == ""

    # Installed, and then an error: what a cut line or a reboot leaves.
    shell(["sh", "-c", """echo 'DPkg::Post-Invoke { "false"; };' >/etc/apt/apt.conf.d/99broken"""])
    broken = site.play("site", more=role)
    assert broken.returncode == 2, broken.stdout[-3000:]
    assert installed(site) - before == set(OURS)
    shell(["rm", "/etc/apt/apt.conf.d/99broken"])
    done = site.play("site", more=role)
    assert done.returncode == 0, done.stdout[-3000:]
    assert installed(site) - before == set(OURS), "nothing came that is not ours to take away"
    assert set(shell(["cat", NOTE]).stdout.split()) == set(OURS)

    shell(["dpkg", "-i", "/srv/monitor.deb"])
    shell(["touch", "/etc/sightglass/off"])
    gone = site.play("remove", "site=gw1", "confirm=gw1")
    assert gone.returncode == 0, gone.stdout[-3000:]
    assert installed(site) == before | {"monitor", "libnftnl11"}
    assert shell(["ls", "-d", "/etc/sightglass", "/etc/nftables.conf"], check=False).stdout == ""
