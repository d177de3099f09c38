"""The command, typed in this process beside a served API."""

from __future__ import annotations

from pathlib import Path

import pytest

from sightglass import cli
from tests.unit.api_parts import FakeAgent


class Terminal:
    """Runs the command in this process."""

    def __init__(self, agent: FakeAgent, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.agent, self.path, self._capsys = agent, path, capsys

    def run(self, *words: str) -> tuple[int, str, str]:
        """Exit code, stdout, stderr."""
        try:
            code = cli.main([*words, "--socket", str(self.path)])
        except SystemExit as ended:
            code = int(ended.code or 0)
        said = self._capsys.readouterr()
        return code, said.out, said.err
