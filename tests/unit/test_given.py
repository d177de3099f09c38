"""What an inventory gives is looked at on the controller, before site.yml changes anything."""

from __future__ import annotations

import copy
import hashlib
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.compliance.site import LISTENERS, site_of
from tests.unit.plugins import PLAYBOOKS, loaded

given: Any = loaded("filter_plugins/sightglass_given.py")

ROOT = PLAYBOOKS.parents[1]
SOCKETS: Any = loaded("../../roles/sightglass_nftables/filter_plugins/sightglass_sockets.py")
CONFIG: dict[str, Any] = {
    "site": "munich-1",
    "cameras": {"cam1": {"url": "http://127.0.0.1:8000/mjpeg/cam1", "lane": "lane1"}},
    "lanes": {"lane1": {"state_topic": "a/b", "safe": ["idle"], "safe_debug": ["idle"], "heartbeat_topic": "a/c"}},
    "tailscale": {"capability": "sightglass.example/cap/view"},
    "limits": {"default_minutes": 30, "max_minutes": 120},
}
CAMERA = CONFIG["cameras"]["cam1"]


@pytest.mark.requirement("U1")
@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("cameras", {"cam'1": CAMERA}, "cameras.cam'1: must match pattern"),
        ("cameras", {"cam\n1": CAMERA}, "cameras.cam\\n1: must match pattern"),
        (
            "cameras",
            {"cam1": CAMERA | {"lane": "l2"}},
            "cameras.cam1.lane names the lane 'l2', which is not configured",
        ),
        ("cameras", {"cam1": CAMERA | {"url": "rtsp://10.0.0.9/"}}, "cameras.cam1.url: must match pattern"),
        (
            "cameras",
            {"cam1": CAMERA | {"url": "http://10.0.0.9/mjpeg"}},
            "cameras.cam1.url must be served on the gateway's own loopback, since the feed may reach nothing else,"
            " not at '10.0.0.9'",
        ),
        ("limits", {"default_minutes": 60, "max_minutes": 30}, "default_minutes (60) must not exceed max_minutes (30)"),
        ("timezone", "Munich", "timezone: must be a time zone such as Europe/Berlin, not 'Munich'"),
        ("ports", {"rtsp": 8550}, "each must be another port, not 8189, 8550, 8550, 8800, 8889"),
        ("lease_s", 16, "lease_s: must be"),
        ("lane", {}, "lane: is not known here"),
    ],
)
def test_a_bad_configuration_is_one_sentence(field: str, value: Any, said: str) -> None:
    """The agent's own, hours before a gateway hears of it."""
    fault = given.config_fault(copy.deepcopy(CONFIG) | {field: value})
    assert fault.startswith("sightglass_agent: "), fault
    assert said in fault
    assert fault.isprintable()


@pytest.mark.requirement("U1")
def test_a_good_configuration_has_no_fault() -> None:
    """The control."""
    assert given.config_fault(CONFIG) == ""


@pytest.mark.requirement("U1")
def test_a_controller_without_pydantic_says_that_it_has_not_looked(monkeypatch: pytest.MonkeyPatch) -> None:
    """ansible-core alone is enough for a controller; that nobody has looked is said, not kept."""
    said: list[str] = []
    monkeypatch.setattr(given.Display, "warning", lambda _, sentence: said.append(sentence))
    monkeypatch.setitem(sys.modules, "pydantic", None)
    bad = CONFIG | {"timezone": "Munich"}
    assert given.config_fault(bad) == ""
    (sentence,) = said
    assert "after other roles have changed something, since this Python has no pydantic" in sentence
    monkeypatch.undo()
    assert "Munich" in given.config_fault(bad), "the control"


@pytest.mark.requirement("U1")
def test_a_file_and_its_checksum_are_asked_for_by_name(tmp_path: Path) -> None:
    """A missing one and an empty one, too: neither is to be guessed."""
    file = tmp_path / "tailscaled"
    names = {"file": "f", "sum": "s"}
    right = hashlib.sha256(b"").hexdigest()
    assert (
        given.file_fault(names | {"path": str(file), "sha256": right}, "x86_64")
        == f"f must be a file on the controller, not '{file}'"
    )
    assert (
        given.file_fault(names | {"path": None, "sha256": right}, "x86_64")
        == "f must be a file on the controller, not ''"
    )
    file.touch()
    for wrong in ("", None, right[:-1], right.upper()):
        said = given.file_fault(names | {"path": str(file), "sha256": wrong}, "x86_64")
        assert said == f"s must be the SHA-256 of {file}, 64 hexadecimal digits, not {str(wrong or '')!r}"
    assert given.file_fault(names | {"path": str(file), "sha256": right}, "x86_64") == "", "a wrapper is no ELF file"


@pytest.mark.requirement("U1")
@pytest.mark.parametrize(("number", "its"), [(62, "x86_64"), (183, "aarch64"), (40, "machine 40")])
def test_a_program_for_another_architecture_is_named(tmp_path: Path, number: int, its: str) -> None:
    """With the right checksum, too: it would replace what runs, and not start."""
    file = tmp_path / "mediamtx"
    file.write_bytes(b"\x7fELF\x02\x01\x01".ljust(18, b"\0") + number.to_bytes(2, "little") + b"the rest")
    one = {"file": "f", "path": str(file), "sum": "s", "sha256": "0" * 64}
    for architecture in ("x86_64", "aarch64"):
        said = given.file_fault(one, architecture)
        wrong = f"f must be a program for {architecture}, as the gateway is, and {file} is one for {its}"
        assert said == ("" if its == architecture else wrong)


@pytest.mark.requirement("U1")
def test_a_wheelhouse_is_a_directory_with_its_manifest(tmp_path: Path) -> None:
    """The example's placeholder is answered with what makes one."""
    none = f"sightglass_agent_wheelhouse must be a directory that agent/wheelhouse has printed, not '{tmp_path}'"
    assert given.wheelhouse_fault(str(tmp_path), "3.11", "x86_64") == none
    for manifest in ("", "{}", "[]", '{"python": "3.11"}'):
        (tmp_path / "manifest.json").write_text(manifest)
        assert given.wheelhouse_fault(str(tmp_path), "3.11", "x86_64") == none
    (tmp_path / "manifest.json").write_text('{"python": "3.11", "architecture": "x86_64"}')
    assert given.wheelhouse_fault(str(tmp_path), "3.11", "x86_64") == ""
    assert given.wheelhouse_fault(None, "3.11", "x86_64") != ""
    # A gateway that was upgraded to the next Debian: the firewall and the stream server would be new by then.
    assert given.wheelhouse_fault(str(tmp_path), "3.13", "x86_64") == (
        f"sightglass_agent_wheelhouse must be for Python 3.13 on x86_64, as the gateway has, and {tmp_path} is for "
        "3.11 on x86_64"
    )


@pytest.mark.requirement("U1")
def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """A relative path is one beside the playbook, or in a directory `files` there, as for the role that carries it."""
    name = "sightglass_agent_mqtt_ca_file"
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "site-ca.pem").touch()
    (tmp_path / "other.pem").touch()
    for path in ("", "site-ca.pem", "other.pem", str(tmp_path / "other.pem")):
        assert given.needed_file_fault(path, name, str(tmp_path)) == ""
    for none in ("none.pem", str(tmp_path), str(tmp_path / "none.pem"), None):
        said = given.needed_file_fault(none, name, str(tmp_path))
        assert said == f"{name} must be a file on the controller, not {str(none)!r}"


@pytest.mark.requirement("U1")
@pytest.mark.parametrize("port", [8554, "8189"])
def test_a_port_that_is_a_windows_is_named(port: object) -> None:
    """Whether the inventory says it as a number or as a text."""
    assert given.port_fault(22, "ssh", [8189, 8554]) == ""
    said = f"ssh must be none of a window's ports (8189, 8554), not {port}"
    assert given.port_fault(port, "ssh", [8189, 8554]) == said


@pytest.mark.requirement("U1")
def test_an_address_that_systemd_would_pass_over_is_named() -> None:
    """It reads a line with a wrong one without a word that anybody sees, or takes a word for every address."""
    for good in ([], ["localhost"], ["10.20.0.5", "192.0.2.0/24", "2001:db8::/32"]):
        assert given.ip_allow_fault(good) == ""
    named = ["any", "broker.example.com", "192.0.2.300", "localhost\nUser=root", "fe80::1%lan0", "10.0.0.0/255.0.0.0"]
    for wrong in (*named, "", None, 5.5):
        said = given.ip_allow_fault(["localhost", wrong])
        assert said == f"sightglass_agent_ip_allow must be localhost, numeric addresses and networks, not {wrong!r}"
    assert given.ip_allow_fault("localhost") == "sightglass_agent_ip_allow must be a list, not 'localhost'"


GATEWAYS = [
    {"inventory_hostname": "munich-1", "sightglass_agent_cameras": {"entry": {}}},
    {"inventory_hostname": "gw7", "sightglass_agent_site": "bonn", "sightglass_agent_cameras": {"exit": {}}},
]
VIEW = "sightglass.example/cap/view"


@pytest.mark.requirement("A5")
@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"sites": ["munch-1"]}, "sites must be * or the sightglass_agent_site of a gateway (munich-1), not 'munch-1'"),
        ({"sites": ["gw7"]}, "sites must be * or the sightglass_agent_site of a gateway (bonn, munich-1), not 'gw7'"),
        ({"sites": ["*"], "cameras": ["entri"]}, "cameras must be * or a gateway's camera (entry), not 'entri'"),
        ({"sites": ["bonn"], "cameras": ["entry"]}, "cameras must be * or a camera of bonn (exit), not 'entry'"),
        ({"sites": ["bonn", "munich-1"], "cameras": ["*", "entry", "exit"]}, ""),
        ({"sites": ["*"]}, ""),
        ({"sites": "munch-1"}, ""),
        ("munch-1", ""),
    ],
)
def test_who_may_watch_what_no_gateway_has_is_named(entry: Any, said: str) -> None:
    """A grant for a misspelt site gives nothing, and headscale says nothing. What has another form is not ours to say;
    and an inventory without gateways has nothing to compare with."""
    sentence = f"sightglass_tailnet_policy_maintainers: {said}" if said else ""
    assert given.maintainers_fault([{"sites": ["*"]}, entry], VIEW, GATEWAYS) == sentence
    assert given.maintainers_fault([entry], VIEW, []) == ""


@pytest.mark.requirement("A5")
def test_agents_and_policy_speak_of_one_capability() -> None:
    """With two words nobody may watch."""
    other = "parking.example/cap/look"
    said = f"must be the sightglass_agent_capability of munich-1, {VIEW!r}, not {other!r}"
    assert given.maintainers_fault([], other, GATEWAYS) == f"sightglass_tailnet_policy_capability {said}"
    gateways = [gateway | {"sightglass_agent_capability": other} for gateway in GATEWAYS]
    assert given.maintainers_fault([], other, gateways) == ""
    assert f"of munich-1, {other!r}, not {VIEW!r}" in given.maintainers_fault([], VIEW, gateways)


@pytest.mark.requirement("U1")
def test_site_yml_looks_before_its_first_role() -> None:
    """Where each of them is asked."""
    play = yaml.safe_load((PLAYBOOKS / "site.yml").read_text())[0]
    faults = play["vars"]["__faults"]
    asks = play["pre_tasks"][0]["block"][1]
    assert (asks["ansible.builtin.fail"]["msg"], asks["when"]) == ("{{ __faults | first }}", "__faults | length > 0")
    text = (PLAYBOOKS / "site.yml").read_text()
    assert all(f"| {name}" in text for name in given.FilterModule().filters())
    specified = [
        option
        for role in ("tailscale", "mediamtx", "agent")
        for option in yaml.safe_load(
            (PLAYBOOKS / f"../../roles/sightglass_{role}/meta/argument_specs.yml").read_text()
        )["argument_specs"]["main"]["options"]
        if option.endswith(("_sha256", "_wheelhouse"))
    ]
    assert len(specified) == 5
    assert [option for option in specified if option not in faults] == []
    # The first role's own are asked before it changes anything; those of the others here.
    of_roles = {
        name
        for file in (PLAYBOOKS / "../../roles").resolve().glob("*/vars/main.yml")
        for name in yaml.safe_load(file.read_text())
        if name.endswith("_faults")
    }
    assert len(of_roles) == 3
    assert of_roles - set(re.findall(r"__\w+", faults)) == {"__sightglass_nftables_faults"}


@pytest.mark.requirement("U1")
@pytest.mark.parametrize("site", ["munich-1", "munich-2"])
def test_the_example_is_a_fleet_that_the_agent_and_the_firewall_would_take(site: str) -> None:
    """Two sites with different brokers, cameras and topics; every line has its words in the roles' specifications."""
    place = ROOT / "inventories/example"
    texts = [
        (place / name).read_text()
        for name in ("group_vars/gateways.yml", "group_vars/x86_64.yml", f"host_vars/{site}.yml")
    ]
    values: dict[str, Any] = {}
    for text in texts:
        values |= yaml.safe_load(text)
    config = {name: values[f"sightglass_agent_{name}"] for name in ("cameras", "lanes", "timezone", "shared_accounts")}
    config |= {"site": site, "tailscale": {"capability": values["sightglass_agent_capability"]}}
    config["mqtt"] = values.get("sightglass_agent_mqtt", {})
    assert given.config_fault(config) == ""
    host = config["mqtt"].get("host", "127.0.0.1")
    elsewhere = [place for place in values.get("sightglass_agent_ip_allow", []) if place != "localhost"]
    # The broker and, for a name, who resolves it: systemd drops the agent's packets to anybody else.
    assert len(elsewhere) == (0 if host == "127.0.0.1" else 2 if re.search("[a-z]", host) else 1)
    declared = {name: value for name, value in values.items() if name.startswith("sightglass_nftables_allow")}
    assert sum("{{" in str(value) for value in values.values()) == 1, "the list for compliance.yml, of the two below"
    known = values["sightglass_compliance_listeners_group"] + values["sightglass_compliance_listeners_host"]
    listed = {(one.protocol, one.port) for one in site_of({LISTENERS: known}).sightglass_compliance_listeners}
    # What others may reach listens: otherwise compliance.yml fails on the example itself.
    assert {(rule["protocol"], rule["port"]) for rules in declared.values() for rule in rules} <= listed
    assert SOCKETS.faults(declared, "allow") == []
    assert SOCKETS.faults({"deny": values.get("sightglass_nftables_deny_host", [])}, "deny") == []
    specified = {
        option
        for role in (ROOT / "roles").iterdir()
        for option in yaml.safe_load((role / "meta/argument_specs.yml").read_text())["argument_specs"]["main"][
            "options"
        ]
    }
    assert {name for name in values if not name.startswith("sightglass_compliance_")} <= specified
