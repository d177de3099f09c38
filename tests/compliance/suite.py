"""The suite itself, run in this process: pytest with a plugin that notes what there is and how each ended."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.compliance.gateway import Gateway
from tests.compliance.outcome import Control, NotAssessed, Result, Word, line

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
TEST_LIMIT_S = 120
STRANGE = ("PYTEST_ADDOPTS", "PYTEST_PLUGINS")
"""What pytest reads beside its words: a CI's own -k would leave controls out, and the rest would pass."""


class Recorder:
    """pytest's plugin. Without a gateway it only says which controls there are."""

    def __init__(self, gateway: Gateway | None = None, *, during: bool) -> None:
        self.gateway = gateway
        self.during = during
        self.controls: list[Control] = []
        self.results: dict[str, Result] = {}

    @pytest.hookimpl(tryfirst=True)  # a control that somebody else deselects is one that did not run
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """What opens a window is no control unless it was asked for."""
        left_out = [item for item in items if item.get_closest_marker("opens_a_window") and not self.during]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
        self.controls = [control(item) for item in items]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Failed is what was seen not to hold: anything else that is no success says nothing of the gateway."""
        report = yield
        name = control(item).id
        before = self.results.get(name, Result(name, "not assessed", "it did not run"))
        seconds = before.seconds + report.duration
        if call.excinfo is not None:
            broken = report.when == "call" and issubclass(call.excinfo.type, AssertionError)
            worse: Word = "failed" if broken or before.outcome == "failed" else "not assessed"
            why = before.why if before.outcome == "failed" else reason(call.excinfo)
            self.results[name] = Result(name, worse, why, seconds)
        elif report.when == "call":
            self.results[name] = Result(name, "passed", "", seconds)
        return report


def reason(trouble: pytest.ExceptionInfo[BaseException]) -> str:
    """One line: our own sentences as they are, others with their kind."""
    text = str(trouble.value)
    ours = issubclass(trouble.type, (AssertionError, NotAssessed, pytest.fail.Exception, pytest.skip.Exception))
    return line(text if ours and text else f"{trouble.typename}: {text}")


def control(item: pytest.Item) -> Control:
    """What a test says of itself. Raises pytest.UsageError when it does not."""
    mark = item.get_closest_marker("control")
    function = getattr(item, "function", None)
    if mark is None or function is None or not function.__doc__:
        raise pytest.UsageError(f"{item.nodeid} has no short name (pytest.mark.control) or no sentence")
    requirements = tuple(sorted(each.args[0] for each in item.iter_markers("requirement")))
    sentence = " ".join(function.__doc__.split())
    module = item.nodeid.partition("::")[0].removesuffix(".py").replace("/", ".")
    return Control(mark.args[0], requirements, sentence, module, item.name)


def run(recorder: Recorder, folder: Path = HERE) -> str:
    """Runs the suite (collects it only, without a gateway). Returns why it did not run as a whole, or nothing."""
    words = ["-q", "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT), f"--timeout={TEST_LIMIT_S}"]
    # -p no:…: neither needs to be imported, nor anything written into a checkout that may be somebody else's.
    words += ["-p", "no:cacheprovider", "-p", "no:hypothesispytest", str(folder)]
    # Nor is a warning of the controller's Python a fault of a gateway.
    words += ["-o", "filterwarnings=default"]
    words += ["--collect-only"] if recorder.gateway is None else []
    for name in STRANGE:
        os.environ.pop(name, None)
    with contextlib.redirect_stdout(sys.stderr):
        code = pytest.main(words, plugins=[recorder])
    return "" if code in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) else f"the suite ended with {int(code)}"
