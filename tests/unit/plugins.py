"""What Ansible finds by its file's name: modules and plugins, loaded as it loads them."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import ansible.module_utils

PLAYBOOKS = Path(__file__).parents[2] / "ansible" / "playbooks"
# Where Ansible finds what modules share, when a playbook of ours runs.
ansible.module_utils.__path__.append(str(PLAYBOOKS / "module_utils"))


def loaded(place: str) -> ModuleType:
    """The file at `place` below ansible/playbooks, such as `library/sightglass_window.py`, as a Python module."""
    file = PLAYBOOKS / place
    spec = importlib.util.spec_from_file_location(f"{file.parent.name}_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = found
    spec.loader.exec_module(found)
    return found
