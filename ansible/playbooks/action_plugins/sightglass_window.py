"""The controller's side of sightglass_window: remembers each gateway's chain of receipts, and names what is done to it.

The module asks the gateway for the event that this ledger has seen last. A gateway alone cannot tell that its whole
state was put back to an older one; whoever keeps a number and a hash elsewhere can.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

DEFAULT = "~/.local/share/sightglass/ledger"
HELD = ("new", "same")
BROKEN = ("shortened", "rewritten", "restarted")
_HASH = re.compile("[0-9a-f]{64}")


class LedgerError(Exception):
    """The ledger cannot be read or written; the message is one sentence."""


class Ledger:
    """What is remembered of one site: a line for each new head, for each alarm, and for each time one was accepted."""

    def __init__(self, directory: Path, site: str) -> None:
        self.file = directory / f"{quote(site, safe='')}.jsonl"
        self.head: dict[str, Any] | None = None
        self.alarm: dict[str, Any] | None = None

    def read(self) -> None:
        """Fills `head`, the newest one, and `alarm`, the newest that nobody has accepted. Raises LedgerError."""
        try:
            self._take(self.file.read_bytes())
        except FileNotFoundError:
            return
        except OSError as error:
            raise LedgerError(f"{self.file} cannot be read: {error.strerror}") from error

    def hear(self, record: Any, chain: Any) -> None:
        """A gateway was asked for `head`: what it says of that, and its newest event. Raises LedgerError.

        Another playbook may have asked at the same time, and have written: nothing is put back to what this one heard.
        """
        asked = self.head
        try:
            head = _head(chain)
            verdict = _verdict(record, asked, head)
        except (ValueError, TypeError, LookupError) as error:
            # A gateway in other hands says what it likes: none of it gets into the file.
            raise LedgerError(f"its answer tells of no record: {str(record)[:20]!a}, {str(chain)[:80]!a}") from error
        with self._owned() as write:
            if verdict is not None:
                write({"alarm": verdict, "known": asked, "head": head})
            elif self.head is None or head["n"] > self.head["n"]:
                write({"head": head})
            elif head["n"] == self.head["n"] and head != self.head:
                write({"alarm": "rewritten", "known": self.head, "head": head})

    def accept(self, reason: str) -> None:
        """Take the alarm away, if there is one. Raises LedgerError."""
        with self._owned() as write:
            if self.alarm is not None:
                write({"accepted": reason, "head": self.head})

    def _take(self, text: bytes) -> None:
        self.head = self.alarm = None
        # What a power cut left of the last line was never believed by anybody.
        for number, line in enumerate(text.split(b"\n")[:-1], 1):
            try:
                self._note(json.loads(line))
            except (ValueError, TypeError, LookupError) as error:
                raise LedgerError(f"{self.file}, line {number}, is no line of a ledger: {line[:80]!r}") from error

    @contextmanager
    def _owned(self) -> Iterator[Callable[[Mapping[str, Any]], None]]:
        """The file as it is now, this ledger's alone for the block, which may write a line and see it on disk."""
        try:
            self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(self.file, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)  # two playbooks may speak to one site
                file, shared = os.fstat(fd), self.file.parent.stat().st_mode & stat.S_IWGRP
                if shared and not file.st_mode & stat.S_IWGRP and file.st_uid == os.geteuid():
                    os.fchmod(fd, 0o660)  # operators who share a folder share what is in it
                text = os.pread(fd, file.st_size, 0)
                self._take(text)
                os.ftruncate(fd, text.rfind(b"\n") + 1)  # what a power cut left of a last line
                yield lambda line: self._write(fd, line)
            finally:
                os.close(fd)
        except OSError as error:
            raise LedgerError(f"{self.file} cannot be written: {error.strerror}") from error

    def _write(self, fd: int, line: Mapping[str, Any]) -> None:
        made = {"at": datetime.now(UTC).isoformat(timespec="seconds"), **line}
        text = json.dumps(made, separators=(",", ":")).encode() + b"\n"
        if os.write(fd, text) < len(text):
            raise LedgerError(f"{self.file} cannot be written: no space")
        os.fsync(fd)
        self._note(made)

    def _note(self, line: dict[str, Any]) -> None:
        if "alarm" in line:
            _head(line["known"])
            self.alarm = line
        elif "accepted" in line:
            self.alarm = None
        self.head = _head(line["head"])


def _head(given: Mapping[str, Any]) -> dict[str, Any]:
    """A chain's newest event and the hash of its first one, or "". Raises ValueError, TypeError or LookupError."""
    head = {name: given[name] for name in ("n", "hash", "first")}
    if type(head["n"]) is not int or head["n"] < 0:
        raise ValueError(given)
    if not _HASH.fullmatch(head["hash"]) or not (_HASH.fullmatch(head["first"]) or head["n"] == 0):
        raise ValueError(given)
    return head


def _verdict(record: Any, asked: Mapping[str, Any] | None, head: Mapping[str, Any]) -> str | None:
    """What is wrong with a record, by the gateway's word or against it. Raises ValueError when that is nonsense."""
    if asked is None or asked["n"] == 0:
        if record not in HELD:
            raise ValueError(record)
        return None
    if record in BROKEN:
        return str(record)
    if record != "same":
        raise ValueError(record)
    if head["first"] != asked["first"]:
        return "restarted"
    if head["n"] < asked["n"]:
        return "shortened"
    return "rewritten" if head["n"] == asked["n"] and head["hash"] != asked["hash"] else None


def _shown(said: Any) -> Any:
    """The same, with every text made a line: a gateway's words neither speak to a terminal nor look like ours."""
    if isinstance(said, Mapping):
        return {_shown(name): _shown(value) for name, value in said.items()}
    if isinstance(said, list):
        return [_shown(value) for value in said]
    if not isinstance(said, str):
        return said
    return "".join(letter if letter.isprintable() else " " for letter in said)


class ActionModule(ActionBase):  # type: ignore[misc]
    """Ansible runs this in place of the module, on the controller."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """The module's result, with `ledger`: what the controller remembers against the site, a sentence or none.

        The option `accept`, a reason, takes an alarm away. The gateway never sees it.
        """
        found: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        here = variables["inventory_hostname"]
        directory = Path(self._templar.template(variables.get("sightglass_ledger", DEFAULT))).expanduser()
        site = str(self._templar.template(variables.get("sightglass_agent_site", here)))
        options = dict(self._task.args)
        accept, opens = options.pop("accept", None), options.get("state") == "open"
        ledger, trouble = Ledger(directory, here), None
        try:
            ledger.read()
        except LedgerError as error:
            # Closing must work whatever is with the ledger.
            if opens:
                raise AnsibleActionFail(f"refused (ledger): {error}") from error
            trouble = str(error)
        if opens and ledger.alarm is not None:
            raise AnsibleActionFail(f"refused (ledger): {_sentence(ledger, here)}")
        arguments = {**options, "known": ledger.head, "site": site}
        answer = self._execute_module("sightglass_window", arguments, task_vars=variables, wrap_async=False)
        found |= _shown(answer)
        if trouble is None and not self._task.check_mode:
            try:
                if found.get("chain") is not None and found.get("record") is not None:
                    ledger.hear(found["record"], found["chain"])
                    if accept and not found.get("failed"):
                        ledger.accept(str(accept))
            except LedgerError as error:
                trouble = str(error)
        found["ledger"] = trouble or _sentence(ledger, here)
        if found["ledger"]:
            Display().warning(found["ledger"])
        return found


def _sentence(ledger: Ledger, site: str) -> str | None:
    alarm = ledger.alarm
    if alarm is None:
        return None
    known = alarm["known"]
    return (
        f"{site}: its record was {alarm['alarm']} (seen {alarm['at']}): event {known['n']}:{known['hash']}, "
        f"which this controller has seen, is not in it"
    )
