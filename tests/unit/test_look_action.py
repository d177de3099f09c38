"""What the roles look at a gateway with: one command by its shell, which is asked nothing and changes nothing of it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail

from tests.unit.plugins import loaded

pytestmark = pytest.mark.requirement("U1")


@pytest.fixture(scope="module")
def action() -> ModuleType:
    """The action `sightglass_look`."""
    return loaded("../../roles/sightglass_payload/action_plugins/sightglass_look.py")


@pytest.mark.parametrize(
    ("args", "rc", "said"),
    [
        ({"argv": ["printf", "%s|", "a b", "$HOME", "it's;", "`id`"]}, 0, "a b|$HOME|it's;|`id`|"),
        ({"argv": ["echo", 7]}, 0, "7\n"),
        ({"argv": ["sightglass-nothing"]}, 127, ""),
        ({"cmd": "cat; echo end"}, 0, "end\n"),
        ({"cmd": "set -e\nfalse\necho more"}, 1, ""),
        ({"cmd": "exit 3"}, 3, ""),
        ({"cmd": "echo before\nif true; then"}, 2, ""),
        ({"cmd": "echo $LC_ALL # and no more"}, 0, "C.UTF-8\n"),
        ({"cmd": "cat <<end\na\nend"}, 0, "a\n"),
        ({"cmd": "echo x", "chdir": "/nowhere"}, 2, ""),
        ({"cmd": "pwd", "chdir": "/usr"}, 0, "/usr\n"),
    ],
)
def test_the_shell_does_what_was_written(action: ModuleType, args: dict[str, Any], rc: int, said: str) -> None:
    """Words stay words; a command that reads gets nothing; what is not a whole text of the shell's does nothing."""
    done = subprocess.run(["sh", "-c", action.script(args)], input="not for it", capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (rc, said)


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        ({}, "must have either argv or cmd"),
        ({"argv": ["true"], "cmd": "true"}, "must have either argv or cmd"),
        ({"cmd": "true", "creates": "/x"}, "creates is not known; it takes argv, chdir, cmd, executable"),
    ],
)
def test_another_task_than_that_is_refused(action: ModuleType, args: dict[str, Any], sentence: str) -> None:
    """In one sentence, before anything is asked."""
    with pytest.raises(AnsibleActionFail, match=sentence):
        action.script(args)


@pytest.mark.parametrize(("changes", "rc"), [("false", 0), ("true", 2)])
def test_only_looks_are_looks(tmp_path: Path, changes: str, rc: int) -> None:
    """It runs in check mode, says what it found, and fails as a command does."""
    play = tmp_path / "play.yml"
    play.write_text(f"""
- hosts: localhost
  gather_facts: false
  roles: [sightglass_payload]
  tasks:
    - sightglass_look: {{cmd: "echo found; echo aside >&2; if {changes}; then exit 1; fi"}}
      register: found
    - ansible.builtin.debug: {{msg: "{{{{ found.stdout }}}}|{{{{ found.stderr_lines }}}}|{{{{ found is changed }}}}"}}
""")
    words = ["ansible-playbook", "-i", "localhost,", "-c", "local", "--check", str(play)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == rc, done.stdout + done.stderr
    assert ("found|['aside']|False" in done.stdout) == (rc == 0), done.stdout
