"""The gateway's state on its site's broker, over TLS and with a password; and a broker that takes neither."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest
import trustme

from lab import Lab, wait
from tests.lab.window.site_under_test import ROOT, Site
from tests.lab.window.test_doctor import named

pytestmark = pytest.mark.requirement("U2")
CONF = "/etc/mosquitto/conf.d/zz-tls.conf"
PASSWORD = "an uncommon word"
LISTENERS = """\
per_listener_settings true
listener 1883 127.0.0.1
allow_anonymous true
listener 8883 127.0.0.1
allow_anonymous false
password_file /etc/mosquitto/users
certfile /etc/mosquitto/server.pem
keyfile /etc/mosquitto/server.key
"""
STATE, THERE = "sightglass/gw1/state", "sightglass/gw1/availability"
DEVICE = "homeassistant/device/sightglass_gw1/config"
BELOW = ("sightglass/#", "homeassistant/#")
PLANTED = (
    (STATE, '{"state": "disabled", "cause": "fleet-off"}'),
    ("sightglass/gw1/set", "disable"),
    ("sightglass/gw1/command", '{"open": "cam1"}'),
)


def role(site: Site, *asked: str) -> None:
    """The agent's configuration, by its role."""
    tags = "sightglass_agent_configure,sightglass_agent_run"
    words = ["ansible-playbook", "ansible/playbooks/site.yml", "--tags", tags, "--limit", "gw1", *asked]
    done = site.lab.host("ops").run(words, timeout=120, check=False, cwd=str(ROOT))
    assert done.returncode == 0, done.stdout[-2000:]
    assert PASSWORD not in done.stdout
    site.wait_guards()


def put(site: Site, path: str, text: str, owner: str = "mosquitto") -> None:
    """A file on the gateway."""
    site.gateway.run(["tee", path], input=text)
    site.gateway.run(["chown", owner, path])


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, trustme.CA]:
    """What the controller has: the password's file, and the CA's."""
    folder, authority = tmp_path_factory.mktemp("broker"), trustme.CA()
    (folder / "password").write_text(f"{PASSWORD}\n")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    return folder, authority


@pytest.fixture(scope="module")
def announced(converged: Lab, secured: tuple[Path, trustme.CA]) -> Iterator[dict[str, list[bool]]]:
    """A broker with a second listener, which the agent uses and speaks at; afterwards all is as it was.

    Gives whether something was kept below each of BELOW: with no prefix configured, and with one alone.
    """
    site = Site(converged, converged.host("gw1"), converged.host("maintainer"))
    folder, authority = secured
    server = authority.issue_cert("127.0.0.1")
    put(site, "/etc/mosquitto/server.pem", server.cert_chain_pems[0].bytes().decode())
    put(site, "/etc/mosquitto/server.key", server.private_key_pem.bytes().decode())
    site.gateway.run(["mosquitto_passwd", "-b", "-c", "/etc/mosquitto/users", "sightglass", PASSWORD])
    site.gateway.run(["chown", "mosquitto", "/etc/mosquitto/users"])
    put(site, CONF, LISTENERS)
    site.gateway.run(["systemctl", "restart", "mosquitto"])
    kept = {"no prefix": below(site)}
    mqtt = {
        "host": "127.0.0.1",
        "port": 8883,
        "username": "sightglass",
        "state_prefix": "sightglass",
    }
    discovered = {**mqtt, "discovery_prefix": "homeassistant"}
    files = {"sightglass_agent_mqtt_password_file": "password", "sightglass_agent_mqtt_ca_file": "ca.pem"}
    paths = {name: str(folder / file) for name, file in files.items()}
    try:
        role(site, "-e", json.dumps({"sightglass_agent_mqtt": mqtt, **paths}))
        wait.until(lambda: retained(site, STATE) is not None, 15, "the state is said")
        kept["a state's alone"] = below(site)
        role(site, "-e", json.dumps({"sightglass_agent_mqtt": discovered, **paths}))
        wait.until(lambda: retained(site, DEVICE) is not None, 15, "the device is said")
        assert site.gateway.run(["stat", "-c", "%U:%G %a", "/etc/sightglass/mqtt-password"]).stdout == (
            "root:sightglass 640\n"
        )
        yield kept
    finally:
        site.gateway.run(["sh", "-c", f"rm {CONF} /etc/mosquitto/server.* /etc/mosquitto/users"])
        for topic in (STATE, THERE, DEVICE):
            site.gateway.run(["mosquitto_pub", "-r", "-n", "-t", topic], check=False)
        site.gateway.run(["systemctl", "restart", "mosquitto"])
        role(site)
    assert site.gateway.run(["sh", "-c", "ls /etc/sightglass/mqtt-*"], check=False).returncode != 0


def retained(site: Site, topic: str) -> str | None:
    """What the broker keeps under a topic."""
    words = ["mosquitto_sub", "-t", topic, "-C", "1", "-W", "2", "--retained-only"]
    return site.gateway.run(words, check=False).stdout.strip() or None


def below(site: Site) -> list[bool]:
    """Whether the broker keeps anything below each prefix."""
    return [retained(site, topics) is not None for topics in BELOW]


def state(site: Site) -> dict[str, Any]:
    """What the broker keeps of the gateway's state."""
    found: dict[str, Any] = json.loads(retained(site, STATE) or "{}")
    return found


def becomes(site: Site, what: str, cause: str | None) -> dict[str, Any]:
    """Wait until the broker is told this state with this cause."""
    wait.until(lambda: (state(site).get("state"), state(site).get("cause")) == (what, cause), 15, f"{what}, {cause}")
    return state(site)


@contextmanager
def listening(site: Site) -> Iterator[subprocess.Popen[str]]:
    """Everything that is said under both prefixes from now on."""
    words = ["mosquitto_sub", "-v", "-W", "120", *(word for topics in BELOW for word in ("-t", topics))]
    with site.gateway.popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_nothing_is_said_that_no_prefix_asks_for(announced: dict[str, list[bool]], site: Site) -> None:
    """Off by default, each of the two by itself; the control is the same question afterwards."""
    assert announced == {"no prefix": [False, False], "a state's alone": [True, False]}
    assert below(site) == [True, True]


def test_the_broker_is_told_each_state_with_its_cause_and_of_nobody(
    announced: dict[str, list[bool]], site: Site
) -> None:
    """Retained; Home Assistant gets sensors; whatever is sent there is no command; a dead agent is offline."""
    becomes(site, "closed", state(site)["cause"])
    assert retained(site, THERE) == "online"
    device = json.loads(retained(site, DEVICE) or "")
    assert (device["state_topic"], device["availability_topic"]) == (STATE, THERE)
    with listening(site) as heard:
        _a_life(site)
        assert heard.stdout is not None
        lines = _commands_change_nothing(site, heard.stdout)
        _a_stray_offline_is_repaired(site)
        heard.kill()
        said = "".join(lines) + heard.stdout.read()
    topics = {line.split(" ", 1)[0] for line in said.splitlines()}
    assert topics == {STATE, THERE, DEVICE, "sightglass/gw1/set", "sightglass/gw1/command"}
    opening = next(event for event in reversed(site.events()) if event["event"] == "opening")
    private = [
        opening["who"]["reason"],
        opening["who"]["user"],
        opening["window"],
        str(site.gateway.vpn4),
        "maintainer",
    ]
    assert all(private)
    assert [word for word in private if word in said] == []
    _offline_and_back(site)


def _a_life(site: Site) -> None:
    window = site.open(purpose="alignment")
    told = becomes(site, "open", None)
    assert (told["cameras"], told["purpose"], told["until"][:16]) == (["cam1"], "alignment", window["deadline"][:16])
    site.lane("moving")
    becomes(site, "suspended", "lane")
    site.lane("idle")
    becomes(site, "open", None)
    site.close()
    becomes(site, "closed", "closed")
    site.sightglass("disable", "--reason", "works on the road")
    becomes(site, "disabled", "disabled")
    site.sightglass("enable", "--reason", "they are over")
    becomes(site, "closed", "closed")


def _commands_change_nothing(site: Site, heard: IO[str]) -> list[str]:
    """Gives what was said until all that was planted had gone out to whoever listens there."""
    before = site.status()["chain"]
    for topic, text in PLANTED:
        site.gateway.run(["mosquitto_pub", "-t", topic, "-m", text])
    site.gateway.run(["mosquitto_pub", "-r", "-t", THERE, "-m", "offline"])
    lines, missing = [], {f"{topic} {text}" for topic, text in (*PLANTED, (THERE, "offline"))}
    for line in heard:
        lines.append(line)
        missing.discard(line.strip())
        if not missing:
            break
    assert missing == set(), "the broker has not passed on what was planted"
    now = site.status()
    assert (now["state"], now["chain"]) == ("closed", before)
    return lines


def _a_stray_offline_is_repaired(site: Site) -> None:
    assert retained(site, THERE) == "offline", "planted"
    site.sightglass("disable", "--reason", "works on the road")
    becomes(site, "disabled", "disabled")
    assert retained(site, THERE) == "online"
    site.sightglass("enable", "--reason", "they are over")
    becomes(site, "closed", "closed")


def _offline_and_back(site: Site) -> None:
    with listening(site) as heard:
        assert heard.stdout is not None
        site.gateway.run(["systemctl", "kill", "-s", "KILL", "sightglass-agent.service"])
        offline = False
        for line in map(str.strip, heard.stdout):
            offline = offline or line == f"{THERE} offline"
            if offline and line == f"{THERE} online":
                break
        else:
            pytest.fail("the broker was not told that the agent is gone, and back")
    site.wait_guards()
    site.gateway.run(["mosquitto_pub", "-r", "-n", "-t", STATE])
    site.gateway.run(["systemctl", "restart", "mosquitto"])
    wait.until(lambda: state(site).get("state") == "closed", 20, "the broker is told again after its restart")
    site.wait_guards()


def test_a_broker_that_refuses_is_named_and_the_parking_goes_on(
    announced: dict[str, list[bool]], site: Site, secured: tuple[Path, trustme.CA]
) -> None:
    """A wrong password, and a certificate of somebody else's CA: no window, a sentence, and what to do; then mended,
    with no new agent."""
    folder, pid = secured[0], site.pid("agent")
    right, strange = (folder / "password").read_text(), trustme.CA().cert_pem.bytes().decode()
    password, ca = "/etc/sightglass/mqtt-password", "/etc/sightglass/mqtt-ca.pem"
    for path, wrong, good, evidence, do in (
        (password, "wrong\n", right, "ot authori", "user and password"),
        (ca, strange, (folder / "ca.pem").read_text(), "certificate verify failed", "compare TLS"),
    ):
        site.gateway.run(["tee", path], input=wrong)
        site.gateway.run(["systemctl", "restart", "mosquitto"])
        named(site, "broker", "fail", evidence, do)
        refused = site.ask_open()
        assert (refused.returncode, "refused (guard-lane)" in refused.stderr) == (3, True), refused.stderr
        site.wait_frames(5)
        site.gateway.run(["tee", path], input=good)
        site.wait_guards(60)
    assert site.pid("agent") == pid
    assert PASSWORD not in site.gateway.run(["journalctl", "-q", "-b", "--no-pager"]).stdout
