"""The compliance check's own rules: what counts as known, and that nothing but a success looks like one."""

from __future__ import annotations

import io
import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any, cast

import pytest

from tests.compliance import report, suite, test_confined
from tests.compliance.gateway import WINDOW, Gateway
from tests.compliance.listeners import Listener, listener
from tests.compliance.outcome import MOST, Control, NotAssessed, Result, line
from tests.compliance.site import LISTENERS, site_of
from tests.compliance.test_confined import ENABLED
from tests.requirements import REQUIREMENTS

pytestmark = pytest.mark.requirement("U3")

SSH: dict[str, Any] = {"protocol": "tcp", "where": "any", "port": 22, "unit": "ssh.service"}


@pytest.mark.parametrize(
    ("row", "seen"),
    [
        ("0.0.0.0:22 0.0.0.0:* cgroup:/system.slice/ssh.service <->", (4, "any", 22, "ssh.service")),
        ("*:22 *:* cgroup:/system.slice/ssh.service v6only:0 <->", (6, "any", 22, "ssh.service")),
        ("127.0.0.53%lo:53 0.0.0.0:* uid:1 cgroup:/system.slice/dns.service", (4, "loopback", 53, "dns.service")),
        ("[::ffff:127.0.0.1]:80 *:* cgroup:/system.slice/b.service", (4, "loopback", 80, "b.service")),
        ("[::ffff:10.0.0.1]:80 *:* cgroup:/system.slice/b.service", (4, "10.0.0.1", 80, "b.service")),
        ("[fe80::1]%eth0:546 [::]:* cgroup:/system.slice/b.service", (6, "fe80::1", 546, "b.service")),
        ("[fd7a::1]:80 [::]:* cgroup:/system.slice/b.service", (6, "vpn", 80, "b.service")),
        ("0.0.0.0:51820 0.0.0.0:* ino:0 sk:1", (4, "any", 51820, "no unit")),
        ("0.0.0.0:51820 0.0.0.0:* ino:0 sk:1 cgroup:/ <->", (4, "any", 51820, "no unit")),
    ],
)
def test_a_line_of_ss_is_read(row: str, seen: tuple[int, str, int, str]) -> None:
    """Address, family, port and unit, also of an IPv4 address in an IPv6 socket, which is no loopback by itself."""
    family, where, port, unit = seen
    assert listener(f"tcp LISTEN 0 128 {row}", {"fd7a::1"}) == Listener("tcp", family, where, port, unit)


USERS = "/user.slice/user-1000.slice/user@1000.service/app.slice/tailscaled.service"


@pytest.mark.parametrize(
    ("cgroup", "owner"),
    [
        ("/system.slice/tailscaled.service", "tailscaled.service"),
        ("/system.slice/ssh.socket", "ssh.socket"),
        ("/system.slice/system-serial.slice/serial@1.service", "serial@1.service"),
        # Below a unit is that unit's own, whatever it calls it.
        ("/system.slice/containers.service/payload/system.slice/tailscaled.service", "containers.service"),
        ("/system.slice/docker-0a1b.scope", "docker-0a1b.scope"),
        (USERS, USERS),
        *(
            (f"{path}/tailscaled.service", f"{path}/tailscaled.service")
            for path in (
                "",
                "/user.slice/user-1000.slice/user@1000.service/system.slice",
                "/machine.slice/machine-a.scope/payload/system.slice",
                "/payload/system.slice",
                "/system.slice.d",
            )
        ),
        ("/user.slice/user-1000.slice/session-2.scope", "/user.slice/user-1000.slice/session-2.scope"),
        ("/init.scope", "/init.scope"),
        ("unreachable:42e", "unreachable:42e"),
        ("/user.slice/a cgroup:/system.slice/tailscaled.service", "/user.slice/a"),
    ],
)
def test_only_a_unit_of_the_system_has_a_bare_name(cgroup: str, owner: str) -> None:
    """A user's own service manager and a container's name their units as they like, also after one in the list."""
    found = listener(f"tcp LISTEN 0 128 0.0.0.0:41641 0.0.0.0:* uid:1000 ino:1 sk:1 cgroup:{cgroup} <->", set())
    assert found.unit == owner
    listed = {"protocol": "tcp", "where": "any", "port": 41641, "unit": "tailscaled.service"}
    strangers = site_of({LISTENERS: [listed]}).strangers({found})
    assert strangers == (set() if owner == "tailscaled.service" else {found})


def test_a_path_in_the_list_is_known() -> None:
    """What a user's or a container's listener is called, word for word."""
    found = Listener("tcp", 4, "any", 22, USERS)
    assert site_of(but(unit=USERS)).strangers({found}) == set()
    assert site_of(but(unit=USERS.replace("1000", "1001"))).strangers({found}) == {found}


def test_what_is_no_line_of_ss_is_refused() -> None:
    """An unread listener would be no listener."""
    with pytest.raises(ValueError, match="no line of ss"):
        listener("Netid State", set())


@pytest.mark.parametrize(
    ("stranger", "known"),
    [
        (Listener("tcp", 4, "any", 22, "ssh.service"), True),
        (Listener("tcp", 6, "any", 22, "ssh.service"), True),
        (Listener("tcp", 4, "any", 22, "other.service"), False),
        (Listener("udp", 4, "any", 22, "ssh.service"), False),
        (Listener("tcp", 4, "vpn", 22, "ssh.service"), False),
        (Listener("tcp", 4, "any", 23, "ssh.service"), False),
        (Listener("tcp", 4, "vpn", 40000, "tailscaled.service"), True),
        (Listener("tcp", 6, "vpn", 40000, "tailscaled.service"), False),
        (Listener("tcp", 4, "any", 40000, "tailscaled.service"), False),
    ],
)
def test_only_what_the_list_says_word_for_word_is_known(stranger: Listener, known: bool) -> None:
    """Protocol, family, place, port and unit: one that differs makes a stranger."""
    peer_api = {"protocol": "tcp", "family": 4, "where": "vpn", "port": "any", "unit": "tailscaled.service"}
    site = site_of({LISTENERS: [SSH, peer_api]})
    assert site.strangers({stranger}) == (set() if known else {stranger})


def but(**changed: Any) -> dict[str, Any]:
    """A list of one entry that is right but for this."""
    return {LISTENERS: [{**SSH, **changed}]}


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, f"{LISTENERS}: must list what the site itself listens on, and is missing"),
        ({LISTENERS: "ssh"}, f'{LISTENERS}: Input should be a valid list, not "ssh"'),
        ({LISTENERS: [SSH, 1]}, f"{LISTENERS}[1]: Input should be a valid dictionary"),
        (but(protocol="sctp"), f"{LISTENERS}[0].protocol: Input should be 'tcp' or 'udp', not \"sctp\""),
        (but(port=70000), f"{LISTENERS}[0].port: Input should be less than or equal to 65535, not 70000"),
        (but(port="22"), f'{LISTENERS}[0].port: Input should be a valid integer, not "22"'),
        (but(port=True), f"{LISTENERS}[0].port: Input should be a valid integer, not true"),
        (but(port="any"), f"{LISTENERS}[0].port: must be a number, not any, where it is any"),
        (but(where="lan"), f'{LISTENERS}[0].where: must be any, loopback, vpn or an address, not "lan"'),
        (but(unit="ssh"), f"{LISTENERS}[0].unit: String should match pattern"),
        (but(unit="user.slice/ssh.service"), f"{LISTENERS}[0].unit: String should match pattern"),
        (but(prot=1), f"{LISTENERS}[0].prot: Extra inputs are not permitted, not 1"),
        ({LISTENERS: [{"protocol": "tcp"}]}, f"{LISTENERS}[0].where: Field required"),
        ({LISTENERS: [SSH], "sightglass_nftables_interface": "a b"}, "sightglass_nftables_interface: String should"),
    ],
)  # fmt: skip
def test_a_wrong_list_is_refused_in_one_sentence(given: dict[str, Any], sentence: str) -> None:
    """Naming the entry, the rule and the value."""
    with pytest.raises(NotAssessed) as refused:
        site_of(given)
    assert str(refused.value).startswith(sentence)


SUITE = """
import pytest
from tests.compliance.outcome import NotAssessed

def control(function):
    function.__doc__ = "A sentence."
    return pytest.mark.control(function.__name__.removeprefix("test_"))(function)

@pytest.fixture
def broken_before():
    assert False, "before"

@pytest.fixture
def broken_after():
    yield
    assert False, "after"

@control
def test_good(): pass
@control
def test_bad(): assert False, "so it is\\nand more"
@control
def test_unknown(): raise NotAssessed("nobody knows")
@control
def test_crashed(): raise RuntimeError("what now")
@control
def test_skipped(): pytest.skip("not today")
@control
@pytest.mark.xfail(reason="known")
def test_excused(): raise ValueError("known")
@control
def test_unprepared(broken_before): pass
@control
def test_untidy(broken_after): pass
@control
def test_bad_and_untidy(broken_after): assert False, "so it is"
@control
@pytest.mark.timeout(0.2)
def test_hung(): import time; time.sleep(30)
"""


def test_only_a_success_passed_and_only_what_was_seen_failed(tmp_path: Path) -> None:
    """An assertion that does not hold is a failure; a crash, a skip, a hang or a broken fixture says nothing."""
    (tmp_path / "test_of_outcomes.py").write_text(SUITE)
    recorder = suite.Recorder(cast(Gateway, object()), during=False)
    assert suite.run(recorder, tmp_path) == ""
    found = {name: (result.outcome, result.why) for name, result in recorder.results.items()}
    hung = found.pop("hung")
    assert found == {
        "good": ("passed", ""),
        "bad": ("failed", "so it is"),
        "unknown": ("not assessed", "nobody knows"),
        "crashed": ("not assessed", "RuntimeError: what now"),
        "skipped": ("not assessed", "not today"),
        "excused": ("not assessed", "ValueError: known"),
        "unprepared": ("not assessed", "before"),
        "untidy": ("not assessed", "after"),
        "bad_and_untidy": ("failed", "so it is"),
    }
    assert hung[0] == "not assessed"
    assert "Timeout" in hung[1]


def test_nothing_around_it_leaves_a_control_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CI's environment changes nothing; what is deselected all the same is a control that did not run."""
    (tmp_path / "test_of_surroundings.py").write_text(SUITE[: SUITE.index("@control\ndef test_unknown")])
    for name, value in (("PYTEST_ADDOPTS", "-k good"), ("PYTEST_PLUGINS", "nothing_of_that_name")):
        monkeypatch.setenv(name, value)
    recorder = suite.Recorder(cast(Gateway, object()), during=False)
    assert suite.run(recorder, tmp_path) == ""
    assert {name: one.outcome for name, one in recorder.results.items()} == {"good": "passed", "bad": "failed"}

    (tmp_path / "conftest.py").write_text("def pytest_collection_modifyitems(items): del items[1:]")
    recorder = suite.Recorder(cast(Gateway, object()), during=False)
    assert suite.run(recorder, tmp_path) == ""
    told = json.dumps({"why": "", "results": [vars(one) for one in recorder.results.values()]})
    found = report.results(recorder.controls, told)
    assert {name: (one.outcome, one.why) for name, one in found.items()} == {
        "good": ("passed", ""),
        "bad": ("not assessed", "it did not run"),
    }


@pytest.mark.parametrize("left_out", [None, "confined"])
def test_a_report_succeeds_with_every_control_of_the_suite_on_every_gateway(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], left_out: str | None
) -> None:
    """One that one gateway's answer leaves out is enough to fail, whatever the environment selects."""
    asked = suite.Recorder(during=False)
    assert suite.run(asked) == ""
    passed = [Result(one.id, "passed") for one in asked.controls]
    answers = {"gw1": answer(*passed), "gw2": answer(*(one for one in passed if one.control != left_out))}
    monkeypatch.setenv("PYTEST_ADDOPTS", "-k listens")
    given = {"gateways": answers, "during": False, "report": str(tmp_path)}
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(given)))
    assert report.main() == (0 if left_out is None else 1)
    said = capsys.readouterr().out
    assert f"{12 - (left_out is not None)} passed, 0 failed, " in said
    assert ("gw2: confined: not assessed: it did not run" in said) == (left_out is not None)


def test_a_suite_that_is_empty_or_broken_says_so(tmp_path: Path) -> None:
    """No test, a test that cannot be imported, one without a name: each is a reason, not a success."""
    for name, text in (
        ("none", ""),
        ("broken", "import nothing_of_that_name"),
        ("nameless", 'def test_it():\n    """A sentence."""'),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"test_{name}.py").write_text(text)
        assert suite.run(suite.Recorder(during=False), tmp_path / name).startswith("the suite ended with"), name


def test_every_control_has_a_name_of_its_own_and_requirements() -> None:
    """As the table shows them; the one that opens a window is there only when asked for."""
    quiet, asked = suite.Recorder(during=False), suite.Recorder(during=True)
    assert (suite.run(quiet), suite.run(asked)) == ("", "")
    names = [control.id for control in asked.controls]
    assert len(set(names)) == len(names)
    assert set(names) - {control.id for control in quiet.controls} == {"during"}
    assert {control.module for control in asked.controls} == {
        f"tests.compliance.test_{x}" for x in ("closed_world", "confined")
    }
    assert all(control.requirements and set(control.requirements) <= set(REQUIREMENTS) for control in asked.controls)


class Units:
    """A gateway's unit files, as `systemctl list-unit-files` has them."""

    def __init__(self, **changed: str) -> None:
        fixed = dict.fromkeys(ENABLED, "enabled") | {
            f"{unit}.service": "static" for unit in (*WINDOW, "sightglass-off")
        }
        self.changed = changed
        self.units = fixed | {f"sightglass-{name.replace('_', '.')}": state for name, state in changed.items()}

    def __str__(self) -> str:
        """What differs, for the test's name."""
        return str(self.changed)

    def output(self, _command: str) -> str:
        """A line each."""
        return "".join(f"{unit} {state} -\n" for unit, state in self.units.items() if state)


@pytest.mark.parametrize(
    ("units", "why"),
    [
        (Units(), None),
        (Units(metrics_timer="enabled", metrics_service="static"), None),
        (Units(metrics_timer="enabled"), "sightglass-metrics.service is missing, must be static"),
        (Units(metrics_service="static"), "sightglass-metrics.timer is missing, must be enabled"),
        (
            Units(metrics_timer="disabled", metrics_service="static"),
            "sightglass-metrics.timer is disabled, must be enabled",
        ),
        (Units(agent_socket=""), "sightglass-agent.socket is missing, must be enabled"),
        (Units(other_service="static"), "sightglass-other.service is static, must be absent"),
    ],
    ids=str,
)
def test_what_may_be_enabled_is_a_list_and_the_figures_pair(units: Units, why: str | None) -> None:
    """Both of the pair where figures are wanted, or neither."""
    gateway = cast(Gateway, units)
    if why is None:
        test_confined.test_nothing_is_enabled_that_must_not_be(gateway)
        return
    with pytest.raises(AssertionError) as refused:
        test_confined.test_nothing_is_enabled_that_must_not_be(gateway)
    assert str(refused.value).splitlines()[0] == why


CONTROLS = [Control(name, ("A1", "N3"), "It holds.", "tests.x", f"test_{name}") for name in ("one", "two")]


def answer(*results: Result, why: str = "") -> str:
    """What `assess` writes."""
    return json.dumps({"why": why, "results": [vars(result) for result in results]})


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("", "the suite gave no result: no answer"),
        (None, "the suite gave no result: no answer"),
        ("Traceback…\nMemoryError", "the suite gave no result: MemoryError"),
        ("[]", "the suite gave no result: []"),
        (answer(why="ssh: no route to host"), "ssh: no route to host"),
        (answer(), "it did not run"),
        (answer(Result("three", "passed")), "it did not run"),
        (answer(Result("one", cast(Any, "skipped"))), "the suite gave no result"),
    ],
)
def test_whatever_is_not_said_was_not_assessed(given: Any, why: str) -> None:
    """A suite that crashed, wrote nothing, or left a control out."""
    found = report.results(CONTROLS, given)
    assert list(found) == ["one", "two"]
    assert {(one.outcome, one.why.startswith(why)) for one in found.values()} == {("not assessed", True)}


def test_the_report_has_every_gateway_and_control() -> None:
    """JUnit as a CI server reads it: a case each, failed as failure, not assessed as error, none skipped."""
    bad = line("port 1 of \x1b[31m\x00evil\ud800 <&> unit")
    fleet = {
        "gw1": report.results(CONTROLS, answer(Result("one", "passed", "", 0.5), Result("two", "failed", bad, 1))),
        "gw2": report.results(CONTROLS, answer(why="ssh: no")),
    }
    root = ET.fromstring(ET.tostring(report.junit(CONTROLS, fleet)))
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("4", "1", "2")
    cases = {str(case.get("name")): [child.tag for child in case][1:] for case in root.iter("testcase")}
    assert cases == {
        "test_one[gw1]": [], "test_two[gw1]": ["failure"], "test_one[gw2]": ["error"], "test_two[gw2]": ["error"],
    }  # fmt: skip
    assert [p.get("value") for p in root.iter("property") if p.get("name") == "requirement"] == ["A1", "N3"] * 4
    assert report.table(CONTROLS, fleet)[3:] == [
        "gateway  one           two",
        "gw1      passed        FAILED",
        "gw2      not assessed  not assessed",
        "",
        "gw1: two: failed: port 1 of ?[31m?evil? <&> unit",
        "gw2: not assessed: ssh: no",
    ]


def test_a_reason_is_one_bounded_line() -> None:
    """Whatever a gateway says."""
    assert line("\n  a\tb \nc") == "a?b"
    assert len(line("x" * 9999)) == MOST
    assert line(" \n") == "no reason was given"
