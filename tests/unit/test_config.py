"""The configuration: what is accepted, and the one sentence for what is not."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightglass.config import Config, ConfigError, Mqtt, load
from sightglass.sentence import sentence

pytestmark = pytest.mark.requirement("F3")

GOOD: dict[str, Any] = {
    "site": "lab-gw1",
    "timezone": "Europe/Berlin",
    "cameras": {"cam1": {"url": "http://127.0.0.1:8000/mjpeg/cam1", "lane": "lane1"}},
    "lanes": {
        "lane1": {
            "state_topic": "parking/lane1/state",
            "state_path": None,
            "safe": ["idle"],
            "safe_debug": ["idle", "occupied"],
            "heartbeat_topic": "parking/heartbeat",
            "heartbeat_max_age_s": 5,
        }
    },
    "mqtt": {"host": "127.0.0.1", "port": 1883},
    "tailscale": {
        "socket": "/run/tailscale/tailscaled.sock",
        "interface": "tailscale0",
        "capability": "sightglass.example/cap/view",
    },
    "ports": {"rtsp": 8554, "hook": 8800},
    "limits": {
        "default_minutes": 30,
        "max_minutes": 120,
        "nobody_joined_s": 600,
        "last_viewer_gone_s": 120,
        "lane_settle_s": 2,
    },
    "lease_s": 15,
    "picture": {"width": 640, "height": 360, "fps": 10, "block": 32},
}
ABSENT = object()


def refused(path: Path, text: bytes) -> str:
    """The sentence for a file, without its name."""
    path.write_bytes(text)
    with pytest.raises(ConfigError) as error:
        load(path)
    said = str(error.value)
    assert said.startswith(f"{path}: ")
    assert said.isprintable()
    return said.removeprefix(f"{path}: ")


def changed(where: str, value: Any) -> bytes:
    """The good configuration with one field changed, added or (ABSENT) removed."""
    config = copy.deepcopy(GOOD)
    place = config
    *parents, last = where.split("/")
    for part in parents:
        place = place[part]
    if value is ABSENT:
        del place[last]
    else:
        place[last] = value
    return json.dumps(config).encode()


def test_the_sample_is_accepted_as_it_stands(tmp_path: Path) -> None:
    """The positive control of every refusal below."""
    path = tmp_path / "agent.json"
    path.write_text(json.dumps(GOOD))
    assert load(path).model_dump(exclude_unset=True) == GOOD


def test_what_may_be_left_out_has_the_documented_value(tmp_path: Path) -> None:
    """Site, cameras, lanes and the capability are a site's own; all else has a default."""
    path = tmp_path / "agent.json"
    least = {key: GOOD[key] for key in ("site", "cameras", "lanes")}
    path.write_text(json.dumps({**least, "tailscale": {"capability": "sightglass.example/cap/view"}}))
    config = load(path)
    assert config.timezone == "UTC"
    assert config.model_copy(update={"timezone": "Europe/Berlin"}) == Config.model_validate(GOOD)


@pytest.mark.requirement("U2")
def test_nothing_is_said_on_the_broker_unless_a_prefix_is_named() -> None:
    """Neither the state nor Home Assistant's device: an upgrade is not heard there."""
    mqtt = Config.model_validate(GOOD).mqtt
    assert (mqtt.state_prefix, mqtt.discovery_prefix) == (None, None)
    assert (Mqtt().state_prefix, Mqtt().discovery_prefix) == (None, None)
    named = Mqtt(state_prefix="sightglass", discovery_prefix="homeassistant")
    assert (named.state_prefix, named.discovery_prefix) == ("sightglass", "homeassistant"), "the control"


@pytest.mark.parametrize(
    ("where", "value", "said"),
    [
        ("site", ABSENT, "site: is missing"),
        ("site", "a b", "site: must match pattern '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$', not \"a b\""),
        ("site", 5, "site: must be a valid string, not 5"),
        ("timezone", "Mars/Base", "timezone: must be a time zone such as Europe/Berlin, not 'Mars/Base'"),
        ("timezone", "Europe", "timezone: must be a time zone such as Europe/Berlin, not 'Europe'"),
        ("timezone", "../../etc/passwd", "timezone: must be a time zone such as"),
        ("timezone", "\0", "timezone: must be a time zone such as Europe/Berlin, not '\\x00'"),
        ("cameras", {}, "cameras: must have at least 1 item"),
        ("cameras/Cam 1", {}, "cameras.Cam 1: must match pattern '^[a-z0-9][a-z0-9_-]{0,31}$', not \"Cam 1\""),
        ("cameras/cam1/lane", "lane9", "cameras.cam1.lane names the lane 'lane9', which is not configured"),
        ("cameras/cam1/url", "rtsp://127.0.0.1/", 'cameras.cam1.url: must match pattern \'^http://'),
        ("cameras/cam1/url", "http://127.0.0.1/\n", "cameras.cam1.url: must match pattern '^http://"),
        ("lanes/lane1/safe", [], "lanes.lane1.safe: must have at least 1 item"),
        ("lanes/lane1/safe", "idle", 'lanes.lane1.safe: must be a valid list, not "idle"'),
        ("lanes/lane1/state_topic", "parking/#", "lanes.lane1.state_topic: must match pattern"),
        ("lanes/lane1/state_path", "", "lanes.lane1.state_path: must match pattern '^[A-Za-z0-9_-]{1,32}("),
        ("lanes/lane1/state_path", "lane..state", '{0,5}$\', not "lane..state"'),
        ("lanes/lane1/state_path", "lane.state\n", '{0,5}$\', not "lane.state\\n"'),
        ("lanes/lane1/state_path", "a.b.c.d.e.f.g", '{0,5}$\', not "a.b.c.d.e.f.g"'),
        ("lanes/lane1/state_path", "x" * 33, '{0,5}$\', not "xxx'),
        ("lanes/lane1/state_path", ["lane"], "lanes.lane1.state_path: must be a valid string"),
        ("lanes/lane1/heartbeat_max_age_s", 0, "lanes.lane1.heartbeat_max_age_s: must be greater than 0, not 0"),
        ("lanes/lane1/heartbeat_max_age_s", float("nan"), "lanes.lane1.heartbeat_max_age_s: must be less than"),
        ("lanes/lane1/heartbeat_max_age_s", float("inf"), "lanes.lane1.heartbeat_max_age_s: must be less than"),
        ("mqtt/port", "1883", 'mqtt.port: must be a valid integer, not "1883"'),
        ("mqtt/port", True, "mqtt.port: must be a valid integer, not true"),
        ("mqtt/port", 70000, "mqtt.port: must be less than or equal to 65535, not 70000"),
        ("tailscale", [], "tailscale: must be an object"),
        ("tailscale/interface", "../x", "tailscale.interface: must match pattern"),
        ("tailscale/capability", ABSENT, "tailscale.capability: is missing"),
        ("ports/rtsp", 80, "ports.rtsp: must be greater than or equal to 1024, not 80"),
        ("ports/rtsp", 8800, "ports: each must be another port, not 8189, 8550, 8800, 8800, 8889"),
        ("limits/default_minutes", 200, "limits: default_minutes (200) must not exceed max_minutes (120)"),
        ("limits/max_minutes", 0, "limits.max_minutes: must be greater than or equal to 1, not 0"),
        ("lease_s", 2, "lease_s: must be greater than or equal to 3, not 2"),
        ("lease_s", 16, "lease_s: must be less than or equal to 15, not 16"),
        ("lease_s", None, "lease_s: must be a valid integer, not null"),
        ("lease_s", 10**3000, "lease_s: must be less than or equal to 15, not 1000"),
        ("picture/width", 641, "picture.width: must be a multiple of 2, not 641"),
        ("picture/fps", 60, "picture.fps: must be less than or equal to 15, not 60"),
        ("mqtt/username", "two words", "mqtt.username: must match pattern '^[!-~]{1,128}$', not \"two words\""),
        ("mqtt/password_file", "/etc/pw", "mqtt: password_file (/etc/pw) needs a username"),
        ("mqtt/password_file", "pw", "mqtt.password_file: must match pattern '^/[!-~]+$', not \"pw\""),
        ("mqtt/ca_file", "", "mqtt.ca_file: must match pattern"),
        ("mqtt/state_prefix", "a/#", "(/[A-Za-z0-9_-]+)*$', not \"a/#\""),
        ("mqtt/state_prefix", "a//b", "mqtt.state_prefix: must match pattern"),
        ("mqtt/discovery_prefix", "ha", "mqtt: discovery_prefix (ha) needs a state_prefix: it tells where that is"),
        ("mqtt/password", "secret", "mqtt.password: is not known here"),
        ("mqtt/a\nb\x1b[2J", 1, "mqtt.a\\nb\\u001b[2J: is not known here"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_one_sentence(tmp_path: Path, where: str, value: Any, said: str) -> None:
    """The field, the rule, the value; never the value under a name that is not known, which may be a password."""
    sentence_said = refused(tmp_path / "agent.json", changed(where, value))
    assert said in sentence_said
    assert "secret" not in sentence_said
    assert len(sentence_said) < 300


def test_a_lane_is_not_where_the_gateway_speaks(tmp_path: Path) -> None:
    """It would hear itself; a neighbour's topic, and one beside it, are the control."""
    config = json.loads(changed("mqtt/state_prefix", "parking"))
    config["lanes"]["lane1"]["state_topic"] = "parking/lab-gw1/state"
    said = refused(tmp_path / "agent.json", json.dumps(config).encode())
    assert "lanes.lane1.state_topic (parking/lab-gw1/state) must not be below parking/lab-gw1/" in said
    for topic in ("parking/lab-gw10/state", "parking/lane1/state"):
        config["lanes"]["lane1"]["state_topic"] = topic
        Config.model_validate(config)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "must be JSON: Expecting value"),
        (b"site: lab-gw1", "must be JSON: Expecting value"),
        (b"[]", "the configuration: must be an object"),
        (b"\xff", "must be JSON that can be read"),
        (b"[" * 100_000, "must be JSON that can be read"),
        (b'{"lease_s":' + b"1" * 5000 + b"}", "must be JSON that can be read"),
        (json.dumps(GOOD).encode().replace(b'"lease_s": 15', b'"lease_s": 15, "lease_s": 3'),
         'the field "lease_s" stands twice'),
    ],
    ids=["empty", "yaml", "list", "no text", "deep", "long number", "twice"],
)  # fmt: skip
def test_a_file_that_is_no_configuration_is_one_sentence(tmp_path: Path, text: bytes, said: str) -> None:
    """Whatever stands in the file."""
    assert said in refused(tmp_path / "agent.json", text)


def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    """A folder, and a file that is not there."""
    for path, said in ((tmp_path, "Is a directory"), (tmp_path / "none.json", "No such file or directory")):
        with pytest.raises(ConfigError, match=f"^{path}: {said}$"):
            load(path)


@settings(max_examples=60)
@given(
    loc=st.lists(st.text() | st.integers(), max_size=12),
    message=st.text(),
    value=st.none() | st.text() | st.integers() | st.floats() | st.binary() | st.lists(st.text()),
)
def test_a_sentence_is_one_bounded_line(loc: list[str | int], message: str, value: Any) -> None:
    """Surrogates, escapes and long values too."""
    said = sentence({"type": "string_type", "loc": loc, "msg": message[:200], "input": value})
    assert said.isascii()
    assert said.isprintable()
    assert len(said) < 6000


@pytest.mark.parametrize(("text", "code"), [(json.dumps(GOOD), 0), (json.dumps({**GOOD, "lease_s": 60}), 2)])
def test_the_agent_checks_a_file(tmp_path: Path, text: str, code: int) -> None:
    """`sightglass-agent --check FILE`, which the role asks before it replaces a configuration."""
    path = tmp_path / "agent.json"
    path.write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "sightglass.main", "--check", path],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    said = "" if code == 0 else f"{path}: lease_s: must be less than or equal to 15, not 60\n"
    assert (done.returncode, done.stdout, done.stderr) == (code, "", said)
