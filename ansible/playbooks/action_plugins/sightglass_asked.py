"""Looks at what was typed behind `-e`, before anything evaluates it, on the controller."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.vars import load_extra_vars

# The last one gives a text delimiters of its own, whatever they are.
_TEMPLATE = re.compile(r"\{\{|\{%|\{#|#jinja2:")
# Ansible's and the roles' own, those of a controller that runs playbooks for people, and what a lost quote leaves.
_OTHERS = ("ansible_", "sightglass_", "awx_", "tower_", "_raw_params")

_MOST = 2100  # sixteen viewers, and a comma behind each


def complaint(asked: Mapping[str, Any], playbook: str, names: Sequence[str]) -> str | None:
    """One sentence about the first thing that this playbook does not take, or None.

    A misspelt `viewer=` would let everybody in, a misspelt `minutes` open for another time. And whatever Ansible reads
    from `-e` is a template to it: a reason that somebody typed into a form would run commands on the controller.
    """
    for name, value in asked.items():
        if name not in names and not str(name).startswith(_OTHERS):
            return f"{_plain(name)[1:-1]}: is not known here, {playbook} takes {', '.join(names)}"
        if name in names and not isinstance(value, str | int | float | bool | None):
            return f"{name}: must be one text, not {_plain(value)}"
        if name in names and len(str(value)) > _MOST:
            return f"{name}: must have at most {_MOST} characters, not {len(str(value))}"
        if name in names and _TEMPLATE.search(str(value)):
            return f"{name}: must be text and no template, not {_plain(value)}"
        # What a lost quote leaves is shown to whoever typed it, and would be evaluated for that.
        if name == "_raw_params" and _TEMPLATE.search(str(value)):
            return f"what is typed behind -e must be quoted and no template, not {_plain(value)}"
    return None


def _plain(value: Any) -> str:
    shown = ascii(value)
    return shown if len(shown) <= 80 else f"{shown[:80]}..."


class ActionModule(ActionBase):  # type: ignore[misc]
    """The task `sightglass_asked` with `playbook` and the `names` that it takes; fails with the sentence."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """See ActionBase."""
        found: dict[str, Any] = super().run(tmp, task_vars)
        options = self._task.args
        said = complaint(load_extra_vars(self._loader), options["playbook"], options["names"])
        if said is not None:
            raise AnsibleActionFail(said)
        return {
            **found,
            "changed": False,
            "ansible_facts": {"sightglass_looked": True, "sightglass_cwd": str(Path.cwd())},
        }
