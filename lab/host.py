"""One host of a lab, as a test or a script sees it."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lab import enter
from lab.paths import HostError


@dataclass(frozen=True)
class Host:
    """A host's name and addresses (None where it has none), and commands on it."""

    lab: str
    name: str
    wan4: str | None = None
    wan6: str | None = None
    lan4: str | None = None
    lan6: str | None = None
    vpn4: str | None = None
    vpn6: str | None = None

    @property
    def is_gateway(self) -> bool:
        return self.name.startswith("gw")

    def run(
        self,
        command: Sequence[str],
        *,
        timeout: float = 30,
        check: bool = True,
        input: str | None = None,
        user: str | None = None,
        cwd: str | None = None,
    ) -> "subprocess.CompletedProcess[str]":
        """Runs a command as root or as `user`, and waits for it.

        Raises HostError when it ends with something else than 0 and `check` is set, subprocess.TimeoutExpired when it
        takes longer than `timeout` seconds (it is killed then).
        """
        words = enter.words(self.lab, self.name, command, user=user, cwd=cwd)
        feed: dict[str, Any] = {"input": input} if input is not None else {"stdin": subprocess.DEVNULL}
        done = subprocess.run(words, capture_output=True, text=True, timeout=timeout, check=False, **feed)
        result = subprocess.CompletedProcess(list(command), done.returncode, done.stdout, done.stderr)
        if check and done.returncode:
            raise HostError(self.name, result)
        return result

    def popen(
        self, command: Sequence[str], *, user: str | None = None, cwd: str | None = None, **kw: Any
    ) -> "subprocess.Popen[Any]":
        """Starts a command; keyword arguments are subprocess.Popen's. Killing the object kills the command."""
        return subprocess.Popen(enter.words(self.lab, self.name, command, user=user, cwd=cwd), **kw)
