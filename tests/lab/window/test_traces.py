"""What a window leaves on the gateway's disk: nothing but its receipt."""

from __future__ import annotations

import pytest

from tests.lab.window.site_under_test import Site

PICTURES = set("jpg jpeg png bmp gif webp mp4 mkv ts m4s h264 264 avi mov yuv raw pcap".split())  # noqa: SIM905


def written(site: Site, unit: str) -> int:
    """Bytes that a unit's main process has caused to be written to a disk."""
    io = site.gateway.run(["cat", f"/proc/{site.pid(unit)}/io"]).stdout
    return int(next(line.split()[1] for line in io.splitlines() if line.startswith("write_bytes:")))


def files(site: Site) -> set[str]:
    """Every file of the gateway's disk and temporary file systems."""
    find = ["find", "/", "-xdev", "-type", "f"]
    more = ["find", "/tmp", "/run", "/dev/shm", "/var/tmp", "-xdev", "-type", "f"]
    return {line for command in (find, more) for line in site.gateway.run(command, check=False).stdout.splitlines()}


@pytest.mark.requirement("P1")
def test_feed_and_stream_server_write_nothing(site: Site) -> None:
    """Counted by the kernel while somebody watches; the same counter sees a file that is written (the control)."""
    site.open()
    with site.watching():
        site.wait_frames(30)
        units = ("feed", "mediamtx", "console")
        assert {unit: written(site, unit) for unit in units} == dict.fromkeys(units, 0)
    control = site.gateway.run(["python3", "-c", _WRITE]).stdout
    assert int(control) >= 1 << 20, "the control: the same counter sees a file that is written"


_WRITE = """
import os
with open("/var/tmp/control", "wb") as out:
    out.write(b"x" * (1 << 20)); out.flush(); os.fsync(out.fileno())
os.unlink("/var/tmp/control")
print(next(line.split()[1] for line in open("/proc/self/io") if line.startswith("write_bytes:")))
"""


@pytest.mark.requirement("P1")
def test_no_picture_or_video_file_is_left(site: Site) -> None:
    """Every file that a watched window left is compared; only receipts and the journal are new."""
    site.gateway.run(["touch", "/var/tmp/control.png"])
    before = files(site)
    assert "/var/tmp/control.png" in before, "the control: a picture would be found"
    site.gateway.run(["rm", "/var/tmp/control.png"])
    site.open()
    site.watch(frames=20)
    site.close()
    new = files(site) - before
    assert any(name.startswith("/var/lib/sightglass/receipts/") for name in new), "the control: new files are seen"
    assert [name for name in new if name.rpartition(".")[2].lower() in PICTURES] == []
    strange = [name for name in new if not name.startswith(("/var/lib/sightglass/receipts/", "/var/log/", "/run/"))]
    assert strange == []
