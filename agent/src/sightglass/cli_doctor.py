"""`sightglass doctor`: what each part of this gateway is like, also where the agent does not answer.

The agent looks at what only it may see; here stands what it cannot say itself: whether it runs and would start, its
units, and, for root, the kernel's own rules. Each look has its own deadline, all of them end within DOCTOR_S.
"""

from __future__ import annotations

import argparse
import dataclasses
import http.client
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from sightglass.client import Ended, ask, show
from sightglass.doctor import finding, host
from sightglass.doctor.finding import Finding

DOCTOR_S = 15
"""All of it, at its worst: what is looked at last has what the others have left."""
_AGENT_S = 8.0
_SYSTEMD_S = 1.0
_BEGINS_S = 2.0
_CHECK_S = 6.0
_NFT_S = 1.0
_LOG_S = 1.0
_COLUMNS = (40, 100)
_ASKED = "Id,LoadState,ActiveState,SubState,Result,ExecMainStatus,NRestarts,UnitFileState,NeedDaemonReload"
_BESIDE = f"/usr/sbin/nft -f {host.RULES} && /usr/sbin/nft -j list table inet sightglass"


def doctor(arguments: argparse.Namespace) -> int:
    """Ask, look, and show it; 0 when nothing fails and nothing is unknown, else 1."""
    began = time.monotonic()
    silent: str | None = None
    seen: list[Finding] = []
    # One that ends again and again holds whoever asks for as long as he waits: systemd keeps its socket.
    unit = _units().get(host.AGENT, {})
    ending = unit.get("ActiveState") == "activating" and unit.get("NRestarts") != "0"
    patience = _AGENT_S / 4 if ending else _AGENT_S
    try:
        seen = finding.read(ask(arguments, "GET", "/v1/doctor", seconds=patience)["findings"])
    except Ended as ended:
        if ended.code != 4:
            raise
        silent = str(ended)
    except TimeoutError:
        silent = f"no answer within {patience:g} s"
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
        silent = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or "no answer"
    # Only now: the question starts an agent that was just stopped.
    units = _units()
    while silent is not None and _begins(units) and time.monotonic() < began + _AGENT_S + _BEGINS_S:
        time.sleep(0.1)
        units = _units()
    last_word = "" if silent is None else _last_word()
    found = [host.agent(units.get(host.AGENT), silent, last_word)]
    rest = [host.units({name: unit for name, unit in units.items() if name != host.AGENT})]
    rest += [host.synchronised(_synchronised()), *_rules()]
    left = DOCTOR_S - 1 - (time.monotonic() - began)
    found += seen if silent is None else [_checked(min(_CHECK_S, max(left, 0.5))), host.not_looked_at()]
    found += rest
    answer = {
        "ok": finding.sound(found),
        "summary": finding.summary(found),
        "findings": [dataclasses.asdict(each) for each in found],
    }
    show(arguments, answer, finding.lines(found, _width()))
    return 0 if answer["ok"] else 1


def _begins(units: Mapping[str, Mapping[str, str]]) -> bool:
    """The agent is on its way up: for that second systemd does not say how its last life ended."""
    return units.get(host.AGENT, {}).get("SubState") in ("start", "start-pre")


def _width() -> int | None:
    if not sys.stdout.isatty():
        return None
    return min(max(shutil.get_terminal_size().columns, _COLUMNS[0]), _COLUMNS[1])


def _run(words: list[str], seconds: float) -> tuple[int, str, str] | None:
    """Exit code, output and errors; None when it cannot be run or takes longer."""
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "SYSTEMD_PAGER": ""}
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL, timeout=seconds,
            check=False, env=environment,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.returncode, done.stdout, done.stderr


def _units() -> dict[str, dict[str, str]]:
    done = _run(["systemctl", "show", "-p", _ASKED, host.AGENT, *host.UNITS], _SYSTEMD_S)
    blocks = done[1].split("\n\n") if done is not None and done[0] == 0 else []
    units = [dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in blocks]
    return {unit["Id"]: unit for unit in units if "Id" in unit}


def _last_word() -> str:
    """The agent's last line in the journal; empty for those who may not read it."""
    done = _run(["journalctl", "-q", "--no-pager", "-t", "sightglass-agent", "-n", "1", "-o", "cat"], _LOG_S)
    return "" if done is None else done[1].strip()


def _checked(seconds: float) -> Finding:
    """What the agent's own check says of the configuration."""
    if Path(host.CONFIG).exists() and not os.access(host.CONFIG, os.R_OK):
        return host.unchecked_configuration("may be read by root and the agent alone")
    done = _run([str(Path(sys.executable).parent / "sightglass-agent"), "--check", host.CONFIG], seconds)
    if done is None:
        return host.unchecked_configuration(f"could not be checked within {seconds:.0f} s")
    lines = done[2].strip().splitlines()
    return host.configuration(None if done[0] == 0 else lines[-1] if lines else f"its check ended with {done[0]}")


def _synchronised() -> bool | None:
    done = _run(["timedatectl", "show", "-p", "NTPSynchronized"], _SYSTEMD_S)
    return {"NTPSynchronized=yes": True, "NTPSynchronized=no": False}.get("" if done is None else done[1].strip())


def _rules() -> list[Finding]:
    """For root alone: the kernel's table against its file, which is loaded in an empty network of its own for that."""
    if os.geteuid() != 0:
        return []
    loaded = _run(["/usr/sbin/nft", "-j", "list", "table", "inet", "sightglass"], _NFT_S)
    wanted = _run(["unshare", "--net", "sh", "-c", _BESIDE], _NFT_S)
    return [host.gate_rules(*(done[1] if done is not None and done[0] == 0 else None for done in (loaded, wanted)))]
