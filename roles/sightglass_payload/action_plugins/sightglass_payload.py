"""Carries files to a gateway whose content differs. A link that breaks costs what was under way and not the file."""

from __future__ import annotations

import hashlib
import itertools
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

PIECE_BYTES = 4 << 20
"""What one command carries. It is in the controller's memory once for each gateway at work."""


@dataclass(frozen=True)
class Payload:
    """A file of the controller's, and what it shall be on the gateway."""

    src: Path
    dest: str
    sha256: str
    mode: str = "0755"

    @property
    def part(self) -> str:
        """Where it grows: beside its place, so that it takes that by a rename. Another content has another one."""
        place, _, name = self.dest.rpartition("/")
        return f"{place}/.{name}.{self.sha256[:12]}.part"

    @property
    def parts(self) -> str:
        """The shell's pattern for what earlier attempts have left of any content."""
        place, _, name = self.dest.rpartition("/")
        return f"{shlex.quote(f'{place}/.{name}.')}*.part"

    def found_as(self, line: str) -> tuple[bool, bool]:
        """Whether `look` has found this content, and whether with this owner and mode."""
        sha256, _, rights = line.partition(" ")
        return sha256 == self.sha256, rights == f"{self.mode.lstrip('0')} 0 0"

    def begins_with(self, size: int, sha256: str) -> bool:
        """Whether so many bytes of this checksum are its first ones. Reads `src` that far."""
        if not 0 < size <= self.src.stat().st_size:
            return False
        digest = hashlib.sha256()
        for offset, piece in itertools.takewhile(lambda read: read[0] < size, self.pieces(0)):
            digest.update(piece[: size - offset])
        return digest.hexdigest() == sha256

    def pieces(self, offset: int) -> Iterator[tuple[int, bytes]]:
        """What is missing from `offset` on, each piece with its place."""
        with self.src.open("rb") as file:
            file.seek(offset)
            while piece := file.read(PIECE_BYTES):
                yield offset, piece
                offset += len(piece)


def look(payload: Payload) -> str:
    """Prints checksum, mode, owner and group in one line, or an empty one where there is no such file."""
    dest = shlex.quote(payload.dest)
    return (
        f"if test -f {dest}; then"
        f' echo "$(sha256sum < {dest} | cut -c1-64) $(stat -Lc "%a %u %g" {dest})"; else echo; fi'
    )


def own(payload: Payload, path: str) -> str:
    """Gives root the file, with its mode."""
    return f"chown 0:0 {shlex.quote(path)} && chmod {payload.mode} {shlex.quote(path)}"


def resume(payload: Payload) -> str:
    """Takes away what is left of other contents; prints the size and the checksum of what is left of this one."""
    part = shlex.quote(payload.part)
    return (
        f'for one in {payload.parts}; do test "$one" = {part} || rm -f "$one"; done;'
        f" if test -f {part}; then stat -c %s {part}; sha256sum < {part} | cut -c1-64; fi"
    )


def append(payload: Payload, offset: int) -> str:
    """Takes one piece from its input. Said again, as ssh does when it retries, it comes to the same place."""
    part = shlex.quote(payload.part)
    return f"umask 077 && truncate -s {offset} {part} && cat >> {part}"


def finish(payload: Payload) -> str:
    """Puts the whole file in its place, or takes it away when it is another one."""
    part, dest = shlex.quote(payload.part), shlex.quote(payload.dest)
    return (
        f'if test "$(sha256sum < {part})" != "{payload.sha256}  -"; then'
        f" rm -f {part}; echo what came is not what was sent >&2; exit 1; fi;"
        f" {own(payload, payload.part)} && sync {part} && mv -fT {part} {dest}"
    )


class ActionModule(ActionBase):  # type: ignore[misc]
    """The task `sightglass_payload` with `files`: a list of src, dest, sha256 and mode (`"0755"` unless it says so).

    The directories must be there. Returns `sent`, the bytes that were carried, and `kept`, those that an attempt which
    broke off had carried before.
    """

    _supports_check_mode = True
    _requires_connection = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """See ActionBase. AnsibleActionFail with one sentence; a connection that breaks is Ansible's own to say."""
        answer: dict[str, Any] = super().run(tmp, task_vars)
        files = [self._payload(one) for one in self._task.args["files"]]
        found = self._say("; ".join(map(look, files)), "looked at").splitlines()
        sent = kept = 0
        changed = []
        for payload, line in zip(files, found, strict=False):
            same, owned = payload.found_as(line)
            if same and owned:
                continue
            changed.append(payload.dest)
            if self._task.check_mode:
                continue
            if same:
                self._say(own(payload, payload.dest), f"given to root: {payload.dest}")
                continue
            before, here = self._carry(payload)
            kept, sent = kept + before, sent + here
        return {**answer, "changed": bool(changed), "files": changed, "sent": sent, "kept": kept}

    def _payload(self, given: Mapping[str, Any]) -> Payload:
        payload = Payload(**{**given, "src": Path(str(given["src"]))})
        try:
            size = payload.src.stat().st_size
        except OSError as error:
            raise AnsibleActionFail(f"{payload.src} cannot be read on the controller: {error.strerror}") from None
        if not size:
            raise AnsibleActionFail(f"{payload.src} is empty on the controller")
        return payload

    def _carry(self, payload: Payload) -> tuple[int, int]:
        """The bytes that were there, and those that came now."""
        size, _, sha256 = self._say(resume(payload), f"carried to {payload.dest}").strip().partition("\n")
        kept = int(size) if size and payload.begins_with(int(size), sha256) else 0
        sent = 0
        for offset, piece in payload.pieces(kept):
            try:
                self._say(append(payload, offset), f"carried to {payload.dest}", piece)
            except AnsibleActionFail:
                # The gateway answers, so it is not the link: a full disk must not stay full of this.
                self._low_level_execute_command(f"rm -f {shlex.quote(payload.part)}")
                raise
            sent += len(piece)
        self._say(finish(payload), f"carried to {payload.dest}")
        return kept, sent

    def _say(self, command: str, what: str, data: bytes = b"\n") -> str:
        # With input there is no terminal, which would mix what is said with what is wrong, and end lines its own way.
        answer = self._low_level_execute_command(command, in_data=data)
        if answer["rc"] != 0:
            why = [line for line in (answer["stderr"] or answer["stdout"]).splitlines() if line.strip()]
            raise AnsibleActionFail(f"nothing was {what}: {why[-1].strip() if why else 'rc ' + str(answer['rc'])}")
        return str(answer["stdout"])
