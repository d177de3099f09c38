"""Gateways that compile Ansible's modules once, for tests that run many plays: see `lab/tools/lab_compiled_once.py`."""

from lab.fleet import Lab
from lab.media import TOOLS

_NAME = "lab_compiled_once"
_PACKAGES = "/usr/lib/python3/dist-packages"


def compile_once(lab: Lab) -> None:
    """From now on, on each gateway of the lab. Not for what measures a play, nor for the demo: no site has this."""
    for gateway in lab.gateways:
        gateway.run(["tee", f"{_PACKAGES}/{_NAME}.py"], input=(TOOLS / f"{_NAME}.py").read_text())
        gateway.run(["tee", f"{_PACKAGES}/{_NAME}.pth"], input=f"import {_NAME}\n")
