"""The direction of the imports, with the reasons."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "agent" / "src" / "sightglass"
IO = {"asyncio", "socket", "time", "os", "subprocess", "httpx", "aiomqtt", "fastapi", "pathlib", "random", "logging"}
HEAVY = {"cv2", "av", "numpy"}

RULES = [
    ("window.py", IO | HEAVY | {"sightglass.adapters"}, "the window decides from values alone"),
    ("guards.py", IO | HEAVY | {"sightglass.adapters"}, "a guard is a function of facts"),
    ("viewers.py", IO | HEAVY | {"sightglass.adapters"}, "who may watch is a function of what tailscaled said"),
    ("verdict.py", IO | HEAVY | {"sightglass.adapters"}, "a verdict is a value"),
    ("payload.py", IO | HEAVY | {"sightglass.adapters"}, "a state is a function of what was sent"),
    ("facts.py", IO | HEAVY | {"sightglass.adapters"}, "facts are values"),
    ("receipts.py", IO | HEAVY | {"sightglass.adapters"}, "the chain is verified from its text alone"),
    ("verify.py", IO | HEAVY | {"sightglass.adapters"}, "whoever has a copy can verify it, without a clock"),
    ("expiry.py", IO | HEAVY | {"sightglass.adapters"}, "what has expired is a function of the chain and the time"),
    ("who.py", IO | HEAVY | {"sightglass.adapters"}, "who asked is a value"),
    ("export.py", IO | HEAVY | {"sightglass.adapters"}, "whoever has an exported file can verify it"),
    ("sheet", IO | HEAVY | {"sightglass.adapters"}, "what people read is a function of the events"),
    ("mediamtx.py", IO | HEAVY | {"sightglass.adapters"}, "the configuration is a function of addresses and names"),
    ("shutter", {"fastapi", "pydantic", "httpx", "aiomqtt", "sightglass.window", "sightglass.guards"} | HEAVY,
     "the shutter knows no policy, and holds a capability: nothing but the standard library"),
    ("feed", {"fastapi", "httpx", "aiomqtt", "sightglass.window", "sightglass.guards", "sightglass.adapters.tailnet"},
     "the feed knows neither windows nor guards"),
    ("console", {"fastapi", "aiomqtt", "sightglass.window", "sightglass.guards", "sightglass.adapters"} | HEAVY,
     "the console knows neither windows nor guards"),
    ("live.py", HEAVY | {"fastapi"}, "what runs a window never touches a picture"),
    ("cli.py", {"fastapi", "pydantic", "httpx", "aiomqtt", "asyncio"} | HEAVY, "the command line starts at once"),
    ("cli_receipts.py", {"fastapi", "pydantic", "httpx", "aiomqtt", "asyncio"} | HEAVY, "so do its verbs"),
    ("cli_export.py", {"fastapi", "pydantic", "httpx", "aiomqtt", "asyncio"} | HEAVY, "also the one that writes files"),
    ("client.py", {"fastapi", "pydantic", "httpx", "aiomqtt", "asyncio"} | HEAVY, "and what they share"),
    ("cli_metrics.py", {"fastapi", "pydantic", "httpx", "aiomqtt", "asyncio"} | HEAVY, "so does a timer's"),
    ("announcement.py", IO | HEAVY | {"sightglass.adapters"}, "what is said on the broker is a function of the state"),
    ("metrics.py", IO | HEAVY | {"sightglass.adapters"}, "what Prometheus reads is a function of the figures"),
    ("cli_doctor.py", {"fastapi", "pydantic", "httpx", "aiomqtt", "asyncio"} | HEAVY, "so does the doctor"),
    ("doctor/finding.py", IO | HEAVY | {"pydantic", "sightglass.adapters"}, "a finding is a value"),
    ("doctor/vpn.py", IO | HEAVY | {"sightglass.adapters"}, "the VPN is judged from values alone"),
    ("doctor/site.py", IO | HEAVY | {"sightglass.adapters"}, "so is the site"),
    ("doctor/host.py", IO | HEAVY | {"pydantic", "sightglass.adapters"}, "so is the host, also where no agent runs"),
    ("feed/look.py", {"fastapi", "pydantic", "httpx", "aiomqtt", "asyncio", "sightglass.config"} | HEAVY,
     "what looks at a camera decodes nothing and starts at once"),
    ("agent.py", HEAVY | {"fastapi"}, "the agent never touches a picture, and its loop does not know HTTP"),
]  # fmt: skip


def imported(path: Path) -> set[str]:
    """Every module that a file or a package's files import, with its parents."""
    found: set[str] = set()
    for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            else:
                continue
            for name in names:
                parts = name.split(".")
                found.update(".".join(parts[: length + 1]) for length in range(len(parts)))
    return found


@pytest.mark.parametrize(("place", "forbidden", "reason"), RULES, ids=[rule[0] for rule in RULES])
def test_imports_point_one_way(place: str, forbidden: set[str], reason: str) -> None:
    """What a piece may not import, and why."""
    path = PACKAGE / place
    assert path.exists(), f"{place} is gone: mend the rule"
    assert not imported(path) & forbidden, reason
