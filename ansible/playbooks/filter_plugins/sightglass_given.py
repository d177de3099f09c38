"""What an inventory gives to site.yml, looked at before anything is changed on a gateway."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_SHA256 = re.compile(r"[0-9a-f]{64}")
_ELF = b"\x7fELF"
_MACHINES = {62: "x86_64", 183: "aarch64"}
"""By their number in an ELF file's head, as `uname -m` calls them."""
# The playbooks run from a checkout, so the agent's own rules are beside them.
_AGENT = Path(__file__).resolve().parents[3] / "agent" / "src"


def config_fault(config: Mapping[str, Any]) -> str:
    """What the agent would say of its configuration, in one sentence; empty when it would take it.

    Empty, too, where the controller's Python has no pydantic: the gateway asks its own agent before it takes a file.
    """
    sys.path.insert(0, str(_AGENT))
    try:
        from pydantic import ValidationError

        from sightglass.config import Config
        from sightglass.sentence import sentence
    except ImportError:
        return ""
    finally:
        sys.path.remove(str(_AGENT))
    try:
        Config.model_validate(json.loads(json.dumps(config)))
    except ValidationError as error:
        fault: Any = error.errors(include_url=False)[0]
        return f"sightglass_agent: {sentence(fault, whole='the configuration')}"
    return ""


def _place(path: str) -> Path:
    """As Ansible's own modules read a path."""
    return Path(os.path.expandvars(path)).expanduser()


def _machine(path: Path) -> str | None:
    """What a program is for; None for what is no ELF file."""
    with path.open("rb") as file:
        head = file.read(20)
    number = int.from_bytes(head[18:20], "little")
    return _MACHINES.get(number, f"machine {number}") if head.startswith(_ELF) else None


def file_fault(given: Mapping[str, Any], architecture: str) -> str:
    """What is wrong with a program on the controller and its checksum, in one sentence, or nothing.

    `given` has `file` and `path`, `sum` and `sha256`: the names of two variables and their values. `architecture` is
    the gateway's, as `uname -m` says it.
    """
    path, sha256 = str(given["path"] or ""), str(given["sha256"] or "")
    if not _place(path).is_file():
        return f"{given['file']} must be a file on the controller, not {path!r}"
    if not _SHA256.fullmatch(sha256):
        return f"{given['sum']} must be the SHA-256 of {path}, 64 hexadecimal digits, not {sha256!r}"
    if (found := _machine(_place(path))) not in (None, architecture):
        return f"{given['file']} must be a program for {architecture}, as the gateway is, and {path} is one for {found}"
    return ""


def wheelhouse_fault(path: object) -> str:
    """What is wrong with the directory of the agent's wheels, or nothing."""
    if isinstance(path, str) and (_place(path) / "manifest.json").is_file():
        return ""
    return f"sightglass_agent_wheelhouse must be a directory that agent/wheelhouse has printed, not {path!r}"


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters of this file by name."""
        return {
            "sightglass_config_fault": config_fault,
            "sightglass_file_fault": file_fault,
            "sightglass_wheelhouse_fault": wheelhouse_fault,
        }
