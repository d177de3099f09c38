"""Each role says the same in its defaults, its argument specification and its tasks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from sightglass.config import Camera, Lane
from tests import readmes

ROLES = Path(__file__).parents[2] / "roles"
NAMES = sorted(role.name for role in ROLES.iterdir() if (role / "tasks" / "main.yml").exists())


def options(role: str) -> dict[str, dict[str, Any]]:
    """The role's options by name, as its specification has them."""
    specs = yaml.safe_load((ROLES / role / "meta" / "argument_specs.yml").read_text())
    found: dict[str, dict[str, Any]] = specs["argument_specs"]["main"]["options"]
    return found


def defaults(role: str) -> dict[str, Any]:
    """The role's defaults by name."""
    return yaml.safe_load((ROLES / role / "defaults" / "main.yml").read_text()) or {}


@pytest.mark.requirement("U1")
def test_all_roles_are_looked_at() -> None:
    """The control: the list of roles is not empty by mistake."""
    assert {"sightglass_agent", "sightglass_mediamtx", "sightglass_nftables"} <= set(NAMES)


@pytest.mark.requirement("U1")
@pytest.mark.parametrize("role", NAMES)
def test_defaults_are_the_specification(role: str) -> None:
    """An option has a default in both places and the same one, or it is required and has none."""
    specified = {name: option["default"] for name, option in options(role).items() if "default" in option}
    assert specified == defaults(role)
    assert all(("default" in option) != option.get("required", False) for option in options(role).values())


@pytest.mark.requirement("U1")
@pytest.mark.parametrize("role", NAMES)
def test_required_options_stand_in_the_defaults_as_comments(role: str) -> None:
    """Every input of a role can be found in its defaults."""
    text = (ROLES / role / "defaults" / "main.yml").read_text()
    required = {name for name, option in options(role).items() if option.get("required")}
    assert required == set(re.findall(rf"^# ({role}_\w+):", text, re.MULTILINE))


@pytest.mark.requirement("U1")
@pytest.mark.parametrize("role", NAMES)
def test_options_are_described_and_used(role: str) -> None:
    """Every option carries the role's name, a description, and is used somewhere."""
    places = [file for part in ("tasks", "templates", "vars", "handlers") for file in (ROLES / role).glob(f"{part}/*")]
    text = "\n".join(file.read_text() for file in places)
    for name, option in options(role).items():
        assert name.startswith(f"{role}_"), name
        assert option["description"], name
        assert re.search(rf"\b{name}\b", text), f"{name} is used nowhere"


@pytest.mark.requirement("U1")
@pytest.mark.parametrize(("option", "model"), [("lanes", Lane), ("cameras", Camera)])
def test_every_setting_of_a_lane_and_a_camera_can_be_found(option: str, model: type[Lane | Camera]) -> None:
    """Ansible cannot specify what stands under a free name: only this holds the words beside the agent's own model."""
    name = f"sightglass_agent_{option}"
    description = options("sightglass_agent")[name]["description"]
    text = (ROLES / "sightglass_agent" / "defaults" / "main.yml").read_text()
    example = re.search(rf"^# {name}:\n((?:#   .*\n)+)", text, re.MULTILINE)
    assert example is not None
    assert set(re.findall(r"C\((\w+)\)", description)) == set(model.model_fields)
    (value,) = yaml.safe_load(re.sub("^# ", "", example[1], flags=re.MULTILINE)).values()
    assert set(value) == set(model.model_fields)
    model.model_validate(value)


@pytest.mark.requirement("U1")
@pytest.mark.parametrize("role", NAMES)
def test_role_has_a_readme_and_platforms(role: str) -> None:
    """A role says what it leaves on a gateway, how one could lock oneself out, its variables, and where it runs."""
    text = (ROLES / role / "README.md").read_text()
    assert text.startswith(f"# {role}\n")
    assert f"\n{readmes.LOCKED_OUT}\n" in text
    assert text == readmes.rendered(ROLES / role), "run `make readmes`"
    assert "C(" not in text, "Ansible's mark for code, and not Markdown's"
    meta = yaml.safe_load((ROLES / role / "meta" / "main.yml").read_text())
    assert meta["galaxy_info"]["platforms"][0]["name"] == "Debian"
