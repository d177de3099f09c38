"""The variables in the roles' READMEs: `python -m tests.readmes` writes them from `meta/argument_specs.yml`."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROLES = Path(__file__).parents[1] / "roles"
HEADING = "## Variables"
LOCKED_OUT = "## How you could lock yourself out"


def _row(name: str, option: dict[str, Any], depth: int) -> Iterator[str]:
    kind = f"list of {option['elements']}" if option.get("elements") else str(option["type"])
    kind = f"{kind}: {', '.join(option['choices'])}" if "choices" in option else kind
    default = (
        f"`{json.dumps(option['default'])}`" if "default" in option else "required" if option.get("required") else ""
    )
    description = option["description"]
    text = " ".join([description] if isinstance(description, str) else description).replace("|", "\\|")
    text = re.sub(r"C\(([^)]*)\)", r"`\1`", text)
    yield f"| {'&nbsp;&nbsp;' * depth}`{name}` | {kind} | {default} | {text} |"
    for inner, part in (option.get("options") or {}).items():
        yield from _row(inner, part, depth + 1)


def variables(role: Path) -> str:
    """The section of one role, with its heading."""
    specs = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text())["argument_specs"]["main"]
    rows = [row for name, option in specs["options"].items() for row in _row(name, option, 0)]
    head = [HEADING, "", "| name | type | default | what it is |", "|---|---|---|---|"]
    return "\n".join([*head, *rows, ""])


def rendered(role: Path) -> str:
    """The README as it must be: its own text, then the variables at the end."""
    text = (role / "README.md").read_text().partition(f"\n{HEADING}\n")[0]
    return f"{text.rstrip()}\n\n{variables(role)}"


def main() -> int:
    """Write all of them."""
    for role in sorted(ROLES.iterdir()):
        if (role / "README.md").exists():
            (role / "README.md").write_text(rendered(role))
    return 0


if __name__ == "__main__":
    sys.exit(main())
