"""What site.yml looks at before its first role: run for real, on this machine, up to there and no further."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

# All plays run at once, by one process that loads Ansible once.
pytestmark = [pytest.mark.requirement("U1"), pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
# No role has this tag: what runs is what always runs.
LOOK = ("--tags", "look")
MACHINES = {"x86_64": 62, "aarch64": 183}
OTHER = next(name for name in MACHINES if name != platform.machine())


@dataclass(frozen=True)
class Asked:
    """One run of site.yml: what of the inventory is otherwise, and the words behind the command.

    `HERE` in a text is the run's own directory.
    """

    gateways: Mapping[str, Any] = field(default_factory=dict)
    gw2: Mapping[str, Any] = field(default_factory=dict)
    everybody: Mapping[str, Any] = field(default_factory=dict)
    words: tuple[str, ...] = LOOK
    playbook: str = "site"


MANIFEST = json.dumps(
    {"python": f"{sys.version_info.major}.{sys.version_info.minor}", "architecture": platform.machine()}
)
POLICY = '{"groups": {"group:staff": []}, "tagOwners": {"tag:gateway": []}, "grants": []}'
POLICY_ALONE = ("--tags", "sightglass_tailnet_policy")
BAD: dict[str, tuple[Any, str]] = {
    "sightglass_agent_mqtt_ca_file": ("HERE/none.pem", "must be a file on the controller, not 'HERE/none.pem'"),
    "sightglass_agent_mqtt_password_file": ("none", "must be a file on the controller, not 'none'"),
    "sightglass_nftables_ssh_port": (8554, "must be none of a window's ports (8189, 8550, 8554, 8889), not 8554"),
    "sightglass_tailscale_rollback_s": (5, "must be from 30 to 600, not 5"),
    "sightglass_metrics_every_s": ("1e2", "must be from 15 to 300, not 1e2"),
    "sightglass_metrics_file": ("/a/gw1.prom", "must be an absolute path of letters, digits"),
    "sightglass_agent_ip_allow": (["any"], "must be localhost, numeric addresses and networks, not 'any'"),
}
GATEWAYS = ",".join(f"sightglass_{role}" for role in ("nftables", "tailscale", "mediamtx", "agent", "metrics"))
MISSPELT = {"sightglass_tailnet_policy_maintainers": [{"src": ["group:staff"], "sites": ["gw3"]}]}
BONN = {"sightglass_agent_site": "bonn", "sightglass_agent_cameras": {"exit": {}}}
NAMED = {"sightglass_tailnet_policy_maintainers": [{"src": ["group:staff"], "sites": ["bonn"], "cameras": ["exit"]}]}
WRONG_PROGRAM = {"sightglass_mediamtx_file": "HERE/other", "sightglass_mediamtx_sha256": "0" * 64}
ASKED = {
    "good": Asked(),
    "part": Asked(WRONG_PROGRAM, words=("--tags", "sightglass_mediamtx")),
    "skipping": Asked(WRONG_PROGRAM, words=("--skip-tags", "sightglass_mediamtx")),
    "policy alone": Asked(WRONG_PROGRAM, words=POLICY_ALONE),
    "site": Asked(everybody=MISSPELT, words=POLICY_ALONE),
    "site gone": Asked(everybody=MISSPELT | {"sightglass_tailnet_policy_state": "absent"}, words=POLICY_ALONE),
    "site rendered": Asked(everybody=MISSPELT, words=("-e", "file=HERE/policy.hujson"), playbook="policy_render"),
    "site limited": Asked(gw2=BONN, everybody=NAMED, words=("--limit", "gw1,localhost", *POLICY_ALONE)),
    # Without its tag the gateways' roles would have their turn, here.
    "limited": Asked(words=("--limit", "gw1", "--skip-tags", GATEWAYS)),
    "limited with": Asked(words=("--limit", "gw1,localhost", "--skip-tags", GATEWAYS)),
    "limited part": Asked(words=("--limit", "gw1", *LOOK)),
    "limited policy": Asked(words=("--limit", "gw1", *POLICY_ALONE)),
    **{f"bad {name}": Asked({name: value}) for name, (value, _) in BAD.items()},
    "capability": Asked({"sightglass_agent_capability": "parking.example/cap/look"}, words=POLICY_ALONE),
}


@dataclass(frozen=True)
class Ran:
    """How a run ended, and what it said."""

    code: int
    said: str


def inventory(asked: Asked) -> dict[str, Any]:
    """Two gateways that are this machine, and what is asked."""
    common: dict[str, Any] = {
        "ansible_connection": "local",
        "ansible_become": False,
        "ansible_python_interpreter": sys.executable,
        "sightglass_agent_wheelhouse": "HERE",
        "sightglass_agent_cameras": {"cam1": {"url": "http://127.0.0.1:8000/mjpeg/cam1", "lane": "lane1"}},
        "sightglass_agent_lanes": {
            "lane1": {"state_topic": "a/b", "safe": ["idle"], "safe_debug": ["idle"], "heartbeat_topic": "a/c"}
        },
        "sightglass_tailscale_version": "1.102.5",
        "sightglass_tailscale_login_server": "https://vpn.example.com",
    }
    for name in ("tailscale", "tailscale_daemon", "mediamtx", "agent_uv"):
        common |= {f"sightglass_{name}_file": "HERE/program", f"sightglass_{name}_sha256": "0" * 64}
    everybody = {
        "sightglass_tailnet_policy_file": "HERE/policy.hujson",
        "sightglass_tailnet_policy_maintainers": [{"src": ["group:staff"], "sites": ["*"]}],
    }
    return {
        "all": {"vars": {**everybody, **asked.everybody}},
        "gateways": {"hosts": {"gw1": {}, "gw2": asked.gw2}, "vars": {**common, **asked.gateways}},
    }


def test_without_pydantic_it_says_once_that_nobody_has_looked(tmp_path: Path) -> None:
    """For two gateways; it goes on, since the gateway looks again."""
    (tmp_path / "manifest.json").write_text(MANIFEST)
    (tmp_path / "program").write_text("#!/bin/sh\n")
    (tmp_path / "hosts.yml").write_text(json.dumps(inventory(Asked())).replace("HERE", str(tmp_path)))
    (tmp_path / "pydantic.py").write_text('raise ModuleNotFoundError("none", name="pydantic")')
    play = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(tmp_path / "hosts.yml"), "--check"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "ANSIBLE_NOCOLOR": "1"}
    done = subprocess.run(
        [*play, *LOOK, "ansible/playbooks/site.yml"],
        env=environment, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    said = " ".join((done.stdout + done.stderr).split())
    assert said.count("since this Python has no pydantic (`make venv` has it)") == 1, said


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ran]:
    """Exit code and words of each run. In check mode: should the look let something pass, nothing comes of it."""
    plays = []
    for name, asked in ASKED.items():
        place = tmp_path_factory.mktemp("site")
        (place / "manifest.json").write_text(MANIFEST)
        (place / "program").write_text("#!/bin/sh\n")
        (place / "policy.hujson").write_text(POLICY)
        (place / "other").write_bytes(b"\x7fELF\x02\x01\x01".ljust(18, b"\0") + bytes([MACHINES[OTHER], 0]))
        (place / "hosts.yml").write_text(json.dumps(inventory(asked)).replace("HERE", str(place)))
        words = ["-i", str(place / "hosts.yml"), "--check", *asked.words]
        words += [f"ansible/playbooks/{asked.playbook}.yml"]
        plays.append((name, [word.replace("HERE", str(place)) for word in words]))
    environment = {
        **os.environ, "HOME": str(tmp_path_factory.mktemp("home")),
        "ANSIBLE_CALLBACK_RESULT_FORMAT": "json", "ANSIBLE_NOCOLOR": "1",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("many_plays.py")],
        input=json.dumps(plays), env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    return {name: Ran(*ended) for (name, _), ended in zip(plays, json.loads(done.stdout), strict=True)}


def refused(ran: Ran) -> dict[str, str]:
    """Who was refused, and with what sentence. No task of a role had its turn."""
    code, said = ran.code, ran.said
    assert code == 2, said
    assert not re.search(r"^TASK \[sightglass_\w+ : (?!Validating)", said, re.MULTILINE), said
    failures = re.findall(r"^fatal: \[(\w+)\]: FAILED! => (\{.*\})$", said, re.MULTILINE)
    found = {host: str(json.loads(told)["msg"]) for host, told in failures}
    assert all(sentence.isprintable() for sentence in found.values()), found
    return found


def test_a_part_of_it_is_no_way_past_the_look(ended: dict[str, Ran]) -> None:
    """`--tags sightglass_mediamtx` left the look out, and installed a program for another architecture."""
    for name in ("part", "skipping"):
        sentences = refused(ended[name])
        assert set(sentences) == {"gw1", "gw2"}
        assert f"sightglass_mediamtx_file must be a program for {platform.machine()}" in sentences["gw1"]
        assert sentences["gw1"].endswith(f"/other is one for {OTHER}")
    assert ended["good"].code == 0, ended["good"].said
    assert "TASK [Look at what the inventory gives, before anything changes]" in ended["good"].said, "the control"


def test_who_may_watch_waits_for_no_gateway(ended: dict[str, Ran]) -> None:
    """The policy alone asks no gateway: somebody is taken off the list while none of them answers, too."""
    said = ended["policy alone"].said
    assert ended["policy alone"].code == 0, said
    assert re.search(r"^TASK \[Learn .*\nskipping: \[gw\d\]\nskipping: \[gw\d\]\n\n", said, re.MULTILINE), said
    assert "TASK [sightglass_tailnet_policy : Grant the maintainers what they may do]" in said


@pytest.mark.requirement("A5")
def test_a_site_that_no_gateway_has_is_refused_before_the_policy_is_written(ended: dict[str, Ran]) -> None:
    """By both playbooks; `--limit` hides no gateway from the look, and what is taken back needs no site."""
    said = "sightglass_tailnet_policy_maintainers: sites must be * or the sightglass_agent_site of a gateway"
    for name in ("site", "site rendered"):
        assert refused(ended[name]) == {"localhost": f"{said} (gw2, gw1), not 'gw3'"}
    for name in ("site gone", "site limited"):
        assert ended[name].code == 0, ended[name].said
        assert "TASK [sightglass_tailnet_policy : Grant the maintainers what they may do]" in ended[name].said


@pytest.mark.requirement("A5")
def test_the_example_is_written_into_a_policy_with_its_denies(tmp_path: Path) -> None:
    """Who may watch, who may approve, and who must never get through; ports as a window has them."""
    file = tmp_path / "policy.hujson"
    file.write_text(POLICY)
    # A process of its own: many_plays finds no group_vars beside an inventory.
    words = ["-i", "inventories/example", "-e", f"file={file}", "ansible/playbooks/policy_render.yml"]
    play = [str(Path(sys.executable).with_name("ansible-playbook")), *words]
    done = subprocess.run(play, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    policy = json.loads(file.read_text())
    tests = yaml.safe_load((ROOT / "inventories/example/group_vars/all.yml").read_text())[
        "sightglass_tailnet_policy_tests"
    ]
    assert policy["tests"] == tests
    watching = [grant["src"] for grant in policy["grants"] if "ip" in grant]
    assert len(watching) < len(policy["grants"]), "somebody may approve alone"
    assert {test["src"] for test in tests}.isdisjoint(name for names in watching for name in names)
    denied = {(test["proto"], port.rpartition(":")[2]) for test in tests for port in test["deny"]}
    opened = {tuple(port.split(":")) for grant in policy["grants"] for port in grant.get("ip", [])}
    assert denied >= opened


@pytest.mark.requirement("A5")
def test_the_agents_capability_is_the_policys(ended: dict[str, Ran]) -> None:
    """Where it is a default, too: the role's defaults are not those of the gateway's variables."""
    assert refused(ended["capability"]) == {
        "localhost": "sightglass_tailnet_policy_capability must be the sightglass_agent_capability of gw1, "
        "'parking.example/cap/look', not 'sightglass.example/cap/view'"
    }


@pytest.mark.requirement("A5")
def test_a_limit_says_that_the_policy_was_not_written(ended: dict[str, Ran]) -> None:
    """It is how one begins with one gateway, so it is no fault, unless the policy is all that was asked for."""
    said = "was not written, since --limit leaves localhost out (--limit gw1,localhost writes it, too)"
    assert ended["limited"].code == 0, ended["limited"].said
    assert ended["limited"].said.count(said) == 1, ended["limited"].said
    sentences = refused(ended["limited policy"])
    assert [*sentences] == ["gw1"]
    assert sentences["gw1"].endswith(said)
    for name in ("limited with", "limited part", "good"):
        assert ended[name].code == 0, ended[name].said
        assert "since --limit leaves" not in ended[name].said, "the control"
    assert "TASK [sightglass_tailnet_policy : Grant" in ended["limited with"].said


@pytest.mark.parametrize("name", BAD)
def test_what_a_role_would_refuse_later_is_refused_first(ended: dict[str, Ran], name: str) -> None:
    """Each was seen when other roles had changed something, or never."""
    for sentence in refused(ended[f"bad {name}"]).values():
        assert re.sub(r"/[^']*/none", "HERE/none", sentence).startswith(f"{name} {BAD[name][1]}"), sentence
