"""Looks, before anything changes, whether files of the controller's are what the inventory says that they are."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

_SHA256 = re.compile(r"[0-9a-f]{64}")


def complaint(name: str, file: str, sha256: object) -> str | None:
    """One sentence about the file in the variable `name`, or None. `sha256` is of the variable `name` less `_file`."""
    recorded = f"{name.removesuffix('_file')}_sha256"
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        return f"{recorded} must be 64 hexadecimal digits, not {json.dumps(sha256, default=str)}"
    try:
        with Path(file).open("rb") as content:
            found = f"has {hashlib.file_digest(content, 'sha256').hexdigest()}"
    except FileNotFoundError:
        found = "is missing"
    except OSError as error:
        found = f"cannot be read ({error.strerror})"
    return None if found == f"has {sha256}" else f"{name} must have the SHA-256 {sha256}; {file} {found}"


class ActionModule(ActionBase):  # type: ignore[misc]
    """The task `sightglass_checksums` with `files`: a list of name, file and sha256; fails with the sentences."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """See ActionBase. Asks nothing of the gateway."""
        answer: dict[str, Any] = super().run(tmp, task_vars)
        said = [complaint(one["name"], one["file"], one["sha256"]) for one in self._task.args["files"]]
        if any(said):
            raise AnsibleActionFail("; ".join(filter(None, said)))
        return {**answer, "changed": False}
