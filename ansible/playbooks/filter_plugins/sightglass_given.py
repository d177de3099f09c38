"""What an inventory gives to site.yml, looked at before anything is changed on a gateway."""

from __future__ import annotations

import difflib
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from ansible.utils.display import Display

_SHA256 = re.compile(r"[0-9a-f]{64}")
_PLAIN = re.compile(r"[0-9A-Fa-f.:]+(/[0-9]{1,3})?")
_ELF = b"\x7fELF"
_MACHINES = {62: "x86_64", 183: "aarch64"}
"""By their number in an ELF file's head, as `uname -m` calls them."""
# The playbooks run from a checkout, so the agent's own rules are beside them.
_ROOT = Path(__file__).resolve().parents[3]
_AGENT = _ROOT / "agent" / "src"
_SHOWN = 5  # of a fleet's sites


def config_fault(config: Mapping[str, Any]) -> str:
    """What the agent would say of its configuration, in one sentence; empty when it would take it.

    Empty, too, where the controller's Python has no pydantic: ansible-core alone is enough for a controller, and the
    gateway asks its own agent before it takes a file. But other roles have changed something by then: hence a warning.
    """
    sys.path.insert(0, str(_AGENT))
    try:
        from pydantic import ValidationError

        from sightglass.config import Config
        from sightglass.sentence import sentence
    except ImportError as error:
        # Ansible shows the same warning once, however many gateways there are.
        Display().warning(
            f"sightglass_agent: the configuration is looked at by each gateway alone, after other roles have changed "
            f"something, since this Python has no {error.name} (`make venv` has it)"
        )
        return ""
    finally:
        sys.path.remove(str(_AGENT))
    try:
        taken = Config.model_validate(json.loads(json.dumps(config)))
    except ValidationError as error:
        fault: Any = error.errors(include_url=False)[0]
        return f"sightglass_agent: {sentence(fault, whole='the configuration')}"
    # The agent takes it, and its doctor says why no picture comes.
    for name, camera in taken.cameras.items():
        if (host := urlsplit(camera.url).hostname) not in ("localhost", "127.0.0.1", "::1"):
            return (
                f"sightglass_agent: cameras.{name}.url must be served on the gateway's own loopback, since the feed "
                f"may reach nothing else, not at {host!r}"
            )
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


def wheelhouse_fault(path: object, python: str, architecture: str) -> str:
    """What is wrong with the directory of the agent's wheels, or nothing.

    `python` (such as 3.11) and `architecture` are the gateway's.
    """
    try:
        manifest = json.loads((_place(str(path)) / "manifest.json").read_text())
        made = manifest["python"], manifest["architecture"]
    except (OSError, ValueError, KeyError, TypeError):
        return f"sightglass_agent_wheelhouse must be a directory that agent/wheelhouse has printed, not {path!r}"
    if made == (python, architecture):
        return ""
    wanted, there = f"Python {python} on {architecture}", " on ".join(map(str, made))
    return f"sightglass_agent_wheelhouse must be for {wanted}, as the gateway has, and {path} is for {there}"


def needed_file_fault(path: object, name: str, playbooks: str) -> str:
    """What is wrong with a file of the controller that the variable `name` names, or nothing; empty is none.

    A relative path is looked for where the role's own tasks look, which begin beside the playbook.
    """
    if path == "":
        return ""
    places = [_place(str(path))]
    if not places[0].is_absolute():
        role = _ROOT / "roles" / "_".join(name.split("_")[:2])
        places = [place / directory / str(path) for place in (role, Path(playbooks)) for directory in ("files", ".")]
    found = any(place.is_file() for place in places)
    return "" if found else f"{name} must be a file on the controller, not {str(path)!r}"


def port_fault(port: object, name: str, window: Iterable[int]) -> str:
    """What is wrong with a port of the site's that must be none of a window's, or nothing."""
    taken = [str(each) for each in window]
    return f"{name} must be none of a window's ports ({', '.join(taken)}), not {port}" if str(port) in taken else ""


def ip_allow_fault(value: object) -> str:
    """What is wrong with the addresses that the agent may speak to, or nothing: systemd passes over a wrong one."""
    name = "sightglass_agent_ip_allow"
    if not isinstance(value, list):
        return f"{name} must be a list, not {value!r}"
    for one in value:
        try:
            # Python reads a mask of dots, too, and whatever stands behind a %; systemd reads neither.
            known = one == "localhost" or (_PLAIN.fullmatch(str(one)) and ip_network(str(one), strict=False))
        except ValueError:
            known = False
        if not known:
            return f"{name} must be localhost, numeric addresses and networks, not {one!r}"
    return ""


def maintainers_fault(maintainers: object, capability: str, gateways: Iterable[Mapping[str, Any]]) -> str:
    """What of a list of maintainers would grant nothing at any gateway, in one sentence, or nothing.

    `gateways` are their variables (hostvars). Without a gateway there is nothing to compare with.
    """
    defaults = yaml.safe_load((_ROOT / "roles/sightglass_agent/defaults/main.yml").read_text())
    sites: dict[str, set[str]] = {}
    for gateway in gateways:
        name = gateway["inventory_hostname"]
        heeded = gateway.get("sightglass_agent_capability", defaults["sightglass_agent_capability"])
        if heeded != capability:
            return (
                f"sightglass_tailnet_policy_capability must be the sightglass_agent_capability of {name}, {heeded!r}, "
                f"not {capability!r}"
            )
        cameras = sites.setdefault(gateway.get("sightglass_agent_site", name), set())
        cameras |= set(gateway.get("sightglass_agent_cameras") or ())
    for entry in maintainers if sites and isinstance(maintainers, list) else ():
        # What is no list of names at all is the specification's to say.
        named = [name for name in _names(entry, "sites") if name != "*"]
        for site in named:
            if site not in sites:
                return _unknown("sites", "the sightglass_agent_site of a gateway", sites, site)
        seen = set().union(*(sites[site] for site in named or sites))
        for camera in _names(entry, "cameras"):
            if camera not in ("*", *seen):
                where = f"a camera of {', '.join(named)}" if named else "a gateway's camera"
                return _unknown("cameras", where, seen, camera)
    return ""


def _names(entry: object, field: str) -> list[str]:
    listed = entry.get(field) if isinstance(entry, Mapping) else None
    return [str(name) for name in listed] if isinstance(listed, list) else []


def _unknown(field: str, rule: str, known: Iterable[str], value: str) -> str:
    shown = difflib.get_close_matches(value, known) or sorted(known)[:_SHOWN]
    return f"sightglass_tailnet_policy_maintainers: {field} must be * or {rule} ({', '.join(shown)}), not {value!r}"


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters of this file by name."""
        return {
            "sightglass_config_fault": config_fault,
            "sightglass_file_fault": file_fault,
            "sightglass_ip_allow_fault": ip_allow_fault,
            "sightglass_maintainers_fault": maintainers_fault,
            "sightglass_needed_file_fault": needed_file_fault,
            "sightglass_port_fault": port_fault,
            "sightglass_wheelhouse_fault": wheelhouse_fault,
        }
