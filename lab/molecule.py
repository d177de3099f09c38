"""`python -m lab.molecule`: a fresh lab, the scenario `default` on its `ops`, and the lab is gone whatever happened."""

import signal
import subprocess
import sys
from types import FrameType

from lab import enter
from lab.cache import say
from lab.fleet import Lab, down
from lab.paths import CHECKOUT, LabError

NAME = "molecule"
LIMIT_S = 900


def main() -> int:
    """`molecule test` in the lab; its exit code, or 1 when there is no lab or no end within LIMIT_S seconds."""
    try:
        # Built out here: `ops` reaches the gateways over the VPN, and no package index.
        wheels = subprocess.run([sys.executable, str(CHECKOUT / "agent" / "wheelhouse")], check=False, timeout=LIMIT_S)
        if wheels.returncode:
            return wheels.returncode
        down(NAME)
        with Lab.up(NAME):
            words = enter.words(NAME, "ops", ["molecule", "test"], cwd=str(CHECKOUT))
            return subprocess.run(words, check=False, timeout=LIMIT_S).returncode
    except LabError as error:
        say(f"lab.molecule: {error}")
    except subprocess.TimeoutExpired:
        say(f"lab.molecule: no end after {LIMIT_S} s")
    return 1


def _interrupted(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _interrupted)
    sys.exit(main())
