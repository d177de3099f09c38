"""The controller's side of sightglass_window: remembers each gateway's chain of receipts, and names what is done to it.

The module asks the gateway for the event that this ledger has seen last. A gateway alone cannot tell that its whole
state was put back to an older one; whoever keeps a number and a hash elsewhere can.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

DEFAULT = "~/.local/share/sightglass/ledger"
HELD = ("new", "same")
_HEAD = {"n": int, "hash": str, "first": str}


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
            text = self.file.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            raise LedgerError(f"{self.file} cannot be read: {error.strerror}") from error
        # What a power cut left of the last line was never believed by anybody.
        for number, line in enumerate(text.split(b"\n")[:-1], 1):
            try:
                self._note(json.loads(line))
            except (ValueError, TypeError, LookupError) as error:
                raise LedgerError(f"{self.file}, line {number}, is no line of a ledger: {line[:80]!r}") from error

    def add(self, line: Mapping[str, Any]) -> None:
        """Write a line and see it on disk. Raises LedgerError."""
        made = {"at": datetime.now(UTC).isoformat(timespec="seconds"), **line}
        try:
            self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(self.file, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)  # two playbooks may speak to one site
                whole = os.pread(fd, os.fstat(fd).st_size, 0).rfind(b"\n") + 1
                os.ftruncate(fd, whole)  # what a power cut left of a last line
                text = json.dumps(made, separators=(",", ":")).encode() + b"\n"
                if os.write(fd, text) < len(text):
                    raise LedgerError(f"{self.file} cannot be written: no space")
                os.fsync(fd)
            finally:
                os.close(fd)
        except OSError as error:
            raise LedgerError(f"{self.file} cannot be written: {error.strerror}") from error
        self._note(made)

    def _note(self, line: dict[str, Any]) -> None:
        if "alarm" in line:
            self.alarm = line
        elif "accepted" in line:
            self.alarm = None
        head = line["head"]
        if any(type(head[name]) is not kind for name, kind in _HEAD.items()):
            raise TypeError(head)
        self.head = {name: head[name] for name in _HEAD}


class ActionModule(ActionBase):  # type: ignore[misc]
    """Ansible runs this in place of the module, on the controller."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """The module's result, with `ledger`: what the controller remembers against the site, a sentence or none.

        The option `accept`, a reason, takes an alarm away. The gateway never sees it.
        """
        found: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        directory = Path(self._templar.template(variables.get("sightglass_ledger", DEFAULT))).expanduser()
        options = dict(self._task.args)
        accept, opens = options.pop("accept", None), options.get("state") == "open"
        ledger, trouble = Ledger(directory, variables["inventory_hostname"]), None
        try:
            ledger.read()
        except LedgerError as error:
            # Closing must work whatever is with the ledger.
            if opens:
                raise AnsibleActionFail(f"refused (ledger): {error}") from error
            trouble = str(error)
        if opens and ledger.alarm is not None:
            raise AnsibleActionFail(f"refused (ledger): {_sentence(ledger, variables['inventory_hostname'])}")
        arguments = {**options, "known": ledger.head}
        found |= self._execute_module("sightglass_window", arguments, task_vars=variables, wrap_async=False)
        if trouble is None and not self._task.check_mode:
            try:
                _remember(ledger, found)
                if accept and ledger.alarm is not None and not found.get("failed"):
                    ledger.add({"accepted": str(accept), "head": ledger.head})
            except LedgerError as error:
                trouble = str(error)
        found["ledger"] = trouble or _sentence(ledger, variables["inventory_hostname"])
        if found["ledger"]:
            Display().warning(found["ledger"])
        return found


def _remember(ledger: Ledger, found: Mapping[str, Any]) -> None:
    chain, record = found.get("chain"), found.get("record")
    if chain is None or record is None:
        return
    if record not in HELD:
        ledger.add({"alarm": record, "known": ledger.head, "head": chain})
    elif chain != ledger.head:
        ledger.add({"head": chain})


def _sentence(ledger: Ledger, site: str) -> str | None:
    alarm = ledger.alarm
    if alarm is None:
        return None
    known = alarm["known"]
    return (
        f"{site}: its record was {alarm['alarm']} (seen {alarm['at']}): event {known['n']} ({known['hash'][:12]}…), "
        f"which this controller has seen, is not in it"
    )
