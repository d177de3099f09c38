"""Runs many playbooks as `ansible-playbook` does, for the price of loading Ansible once: `python many_plays.py <PLAYS`.

Stdin is a JSON list of [name, words], stdout one of [exit code, what it said], in the same order. Each finds its name
in the environment as PLAY, and so does whatever it starts.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import traceback
import warnings

import ansible.executor.playbook_executor  # noqa: F401 - what a play loads first, loaded once for all
from ansible.cli.playbook import PlaybookCLI
from ansible.plugins import loader


def _warm() -> None:
    """Load the plugins and read their documentation, which took most of a play that ends at its first task."""
    loader.init_plugin_loader()
    warnings.filterwarnings("ignore", message="AnsibleCollectionFinder has already been configured")
    kinds = (
        "inventory",
        "vars",
        "callback",
        "connection",
        "shell",
        "become",
        "strategy",
        "action",
        "lookup",
        "filter",
        "test",
    )
    for kind in kinds:
        list(getattr(loader, f"{kind}_loader").all(class_only=True))


def _one(name: str, words: list[str]) -> tuple[int, str]:
    with tempfile.TemporaryFile() as said:
        pid = os.fork()
        if pid == 0:
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
            os.environ["PLAY"] = name
            code = 99
            try:
                cli = PlaybookCLI(["ansible-playbook", *words])
                cli.parse()
                code = cli.run() or 0
            except SystemExit as ended:
                code = ended.code if isinstance(ended.code, int) else 98
            except BaseException:  # noqa: BLE001 - as Ansible's own main does; the test sees it
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                os._exit(code)
        _, status = os.waitpid(pid, 0)
        said.seek(0)
        return os.waitstatus_to_exitcode(status), said.read().decode(errors="replace")


if __name__ == "__main__":
    _warm()
    json.dump([_one(name, words) for name, words in json.load(sys.stdin)], sys.stdout)
