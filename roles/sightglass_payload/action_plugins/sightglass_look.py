"""Looks at a gateway with a command that changes nothing, in check mode too, and without carrying a module over.

A module costs the gateway 0.37 s of a processor each time, the shell by itself 0.02 s (a play of twenty such tasks on a
lab gateway), and a role looks at a dozen things before it changes one.
"""

from __future__ import annotations

import shlex
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

_KNOWN = {"argv", "cmd", "chdir", "executable"}


def script(args: dict[str, Any]) -> str:
    """The shell's text for `argv`, a list of words, or for `cmd`, a text of the shell's own; below `chdir` if given.

    It reads nothing, and says its messages as programs know them. AnsibleActionFail for anything else.
    """
    strange = sorted(set(args) - _KNOWN)
    if strange:
        raise AnsibleActionFail(f"sightglass_look: {strange[0]} is not known; it takes {', '.join(sorted(_KNOWN))}")
    if ("argv" in args) == ("cmd" in args):
        raise AnsibleActionFail("sightglass_look: must have either argv or cmd")
    words = shlex.join(map(str, args["argv"])) if "argv" in args else str(args["cmd"])
    below = f"cd {shlex.quote(str(args['chdir']))} || exit\n" if "chdir" in args else ""
    # A block, because the shell reads it to its end before it runs any of it.
    return f"export LC_ALL=C.UTF-8\n{{\n{below}{words}\n}} </dev/null"


class ActionModule(ActionBase):  # type: ignore[misc]
    """The task `sightglass_look` with what `script` takes, and `executable`, a shell other than /bin/sh.

    Answers as `ansible.builtin.command` does: rc, stdout and stderr without the last line's end, and their lines; it
    has failed when rc is not 0.
    """

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """See ActionBase."""
        answer: dict[str, Any] = super().run(tmp, task_vars)
        args = self._task.args
        # With input there is no terminal, which would mix what is said with what is wrong, and end lines its own way.
        said = self._low_level_execute_command(script(args), in_data=b"\n", executable=args.get("executable"))
        stdout, stderr = (str(said[name]).rstrip("\r\n") for name in ("stdout", "stderr"))
        found = {"rc": said["rc"], "stdout": stdout, "stdout_lines": stdout.splitlines()}
        answer |= {**found, "stderr": stderr, "stderr_lines": stderr.splitlines(), "changed": False}
        if said["rc"] != 0:
            answer |= {"failed": True, "msg": "non-zero return code"}
        return answer
