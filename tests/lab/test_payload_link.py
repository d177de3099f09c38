"""A program that comes over a link which breaks: the next run sends what is missing; half a program takes no place."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import Lab, wait
from lab.paths import CHECKOUT
from tests.lab.links import slow

MIB = 1 << 20
SIZE = 24 * MIB
PLACE = "/root/.program"
DEST = f"{PLACE}/program"

PLAY = """
- hosts: gw1
  gather_facts: false
  become: true
  roles: [sightglass_payload]
  tasks:
    - sightglass_payload:
        files: [{src: "{{ given }}", dest: "{{ to }}", sha256: "{{ recorded }}"}]
"""


class Sent:
    """A file of the controller's, and the play that carries it."""

    def __init__(self, lab: Lab, place: Path) -> None:
        self.lab, self.gateway = lab, lab.host("gw1")
        self.file, self.play = place / "program", place / "play.yml"
        self.file.write_bytes(os.urandom(SIZE))
        self.play.write_text(PLAY)
        self.sha256 = hashlib.sha256(self.file.read_bytes()).hexdigest()
        self.part = f"{PLACE}/.program.{self.sha256[:12]}.part"

    def words(self, **other: str) -> list[str]:
        """The command line."""
        asked = {"given": str(self.file), "to": DEST, "recorded": self.sha256, **other}
        return ["ansible-playbook", str(self.play), "-e", json.dumps(asked)]

    def run(self, **other: str) -> tuple[int, dict[str, Any]]:
        """Its exit code, and what the action said of gw1."""
        words = ["env", "ANSIBLE_STDOUT_CALLBACK=ansible.posix.json", *self.words(**other)]
        done = self.lab.host("ops").run(words, timeout=120, check=False, cwd=str(CHECKOUT))
        assert done.stdout.startswith("{"), done.stdout + done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)["plays"][-1]["tasks"][-1]["hosts"]["gw1"]
        return done.returncode, answer

    def size(self, path: str) -> int:
        """Of a file of the gateway's, in bytes; 0 where there is none."""
        done = self.gateway.run(["stat", "-c", "%s", path], check=False)
        return int(done.stdout) if done.returncode == 0 else 0

    def there(self) -> list[str]:
        """What lies in the gateway's directory."""
        return self.gateway.run(["ls", "-A", PLACE]).stdout.split()

    def is_whole(self) -> bool:
        """Whether the gateway has all of it, for root and executable."""
        found = self.gateway.run(["sh", "-c", f"sha256sum < {DEST}; stat -c '%a %u %g' {DEST}"]).stdout.split()
        return found == [self.sha256, "-", "755", "0", "0"]


@pytest.fixture
def sent(lab: Lab, tmp_path: Path) -> Iterator[Sent]:
    """Nothing of it is there yet."""
    found = Sent(lab, tmp_path)
    found.gateway.run(["mkdir", "-p", PLACE])
    try:
        yield found
    finally:
        found.gateway.run(["rm", "-rf", PLACE])


def breaks(sent: Sent) -> int:
    """Carries it until the connection is killed half-way; returns the bytes that came."""
    with slow(sent.lab, "40mbit"):
        run = sent.lab.host("ops").popen(sent.words(), cwd=str(CHECKOUT))
        try:
            wait.until(lambda: sent.size(sent.part) > SIZE // 3, 60, "a third of it is there")
            sent.gateway.run(["pkill", "-KILL", "-u", "admin"])
            assert run.wait(60) == 4, "a broken link is no answer of the gateway's"
        finally:
            run.kill()
            run.wait(5)
    wait.until(lambda: sent.gateway.run(["pgrep", "-x", "cat"], check=False).returncode == 1, 30, "nobody writes it")
    return sent.size(sent.part)


@pytest.mark.requirement("N3")
def test_a_broken_link_costs_what_was_under_way(sent: Sent) -> None:
    """What came before is kept and not sent again, and until it is whole it takes no program's place."""
    here = breaks(sent)
    assert SIZE // 3 < here < SIZE
    assert sent.there() == [Path(sent.part).name], "nothing that is not whole stands in its place"
    assert sent.gateway.run(["stat", "-c", "%a %u", sent.part]).stdout == "600 0\n"

    code, said = sent.run()
    assert (code, said["changed"], said["kept"], said["sent"]) == (0, True, here, SIZE - here)
    assert sent.is_whole()
    assert sent.there() == ["program"]

    code, said = sent.run()
    assert (code, said["changed"], said["sent"]) == (0, False, 0), "what is there travels no more"


@pytest.mark.requirement("N3")
def test_what_is_left_of_another_one_is_not_gone_on_with(sent: Sent) -> None:
    """Bytes that are not its first ones are taken away: changed on the disk, or of another version."""
    sent.gateway.run(
        ["sh", "-c", f"head -c {5 * MIB} /dev/urandom > {sent.part}; cp {sent.part} {PLACE}/.program.0123456789ab.part"]
    )
    code, said = sent.run()
    assert (code, said["kept"], said["sent"]) == (0, 0, SIZE)
    assert sent.is_whole()
    assert sent.there() == ["program"]


@pytest.mark.requirement("N3")
def test_a_full_disk_is_left_no_fuller(sent: Sent) -> None:
    """One sentence; the part is gone, and what was there before is whole."""
    sent.gateway.run(["sh", "-c", f"mount -t tmpfs -o size=10m none {PLACE} && echo before > {DEST}"])
    try:
        code, said = sent.run()
        assert code == 2
        assert f"nothing was carried to {DEST}: " in said["msg"]
        assert "No space left on device" in said["msg"]
        assert sent.there() == ["program"]
        assert sent.gateway.run(["cat", DEST]).stdout == "before\n"
        sent.gateway.run(["mount", "-o", "remount,size=100m", PLACE])
        assert sent.run()[0] == 0, "the control: with room it comes"
        assert sent.is_whole()
    finally:
        sent.gateway.run(["umount", "-l", PLACE])


@pytest.mark.requirement("N3")
def test_another_content_than_the_recorded_one_takes_no_place(sent: Sent) -> None:
    """The gateway's own check, behind the controller's: what came is hashed where it will run."""
    code, said = sent.run(recorded="0" * 64)
    assert (code, said["msg"]) == (2, f"nothing was carried to {DEST}: what came is not what was sent")
    assert sent.there() == []
    assert sent.run()[0] == 0, "the control: with its own checksum it comes"
    assert sent.is_whole()


@pytest.mark.requirement("N3")
def test_an_owner_is_mended_without_sending(sent: Sent) -> None:
    """A user who could write what root runs would be root."""
    assert sent.run()[0] == 0
    sent.gateway.run(["sh", "-c", f"chown nobody {DEST} && chmod 0777 {DEST}"])
    code, said = sent.run()
    assert (code, said["changed"], said["sent"]) == (0, True, 0)
    assert sent.is_whole()


def test_a_file_that_is_not_there_is_one_sentence(sent: Sent) -> None:
    """And so is one that is empty: it would be whole before it came."""
    code, said = sent.run(given="/nowhere/x")
    assert (code, said["msg"]) == (2, "/nowhere/x cannot be read on the controller: No such file or directory")
    code, said = sent.run(given="/dev/null")
    assert (code, said["msg"]) == (2, "/dev/null is empty on the controller")
