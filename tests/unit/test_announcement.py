"""What is said on the site's broker, and who the agent is there."""

from __future__ import annotations

import dataclasses
import json
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trustme

from sightglass.adapters import broker
from sightglass.announcement import discovery, payload, said, topics
from sightglass.config import Mqtt
from sightglass.who import who
from sightglass.window import Purpose, State, Window

pytestmark = pytest.mark.requirement("U2")
AT = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
WINDOW = Window(
    id="w-0123456789ab",
    request_id="request-1",
    cameras=("cam1",),
    purpose=Purpose.DEBUG,
    minutes=30,
    named=frozenset({"ann@example.org"}),
    privacy="redacted",
    began=0.0,
    deadline=1800.0,
    by=who("bob", 1000, "Bobby", ()),
)
SUSPENDED = dataclasses.replace(WINDOW, cause="lane", why="lane1 is 'moving'")
ENDED = dataclasses.replace(WINDOW, cause="deadline")
OFF = [{"cause": "fleet-off", "user": "bob", "reason": "works on the road", "at": "2026-11-24T09:00:00+00:00"}]


@pytest.mark.parametrize(
    ("state", "window", "last", "marks", "expected"),
    [
        (State.CLOSED, None, None, [], ("closed", None, [], None)),
        (State.OPEN, WINDOW, WINDOW, [], ("open", None, ["cam1"], "2026-11-24T10:00:00+00:00")),
        (State.SUSPENDED, SUSPENDED, SUSPENDED, [], ("suspended", "lane", ["cam1"], "2026-11-24T10:00:00+00:00")),
        (State.CLOSED, None, ENDED, [], ("closed", "deadline", [], None)),
        (State.DISABLED, None, ENDED, OFF, ("disabled", "fleet-off", [], None)),
        (State.CLOSED, None, ENDED, [{"cause": "switch", "reason": "set"}], ("disabled", "switch", [], None)),
        (State.CLOSING, ENDED, ENDED, OFF, ("closing", "deadline", ["cam1"], "2026-11-24T10:00:00+00:00")),
    ],
)
def test_state_and_cause(
    state: State, window: Window | None, last: Window | None, marks: list[dict[str, Any]], expected: tuple[Any, ...]
) -> None:
    """Each state with its cause; nobody's name, no reason and no id goes with it."""
    found = said(state, window, last, marks, AT)
    assert (found["state"], found["cause"], found["cameras"], found["until"]) == expected
    text = payload(found, AT).decode()
    for private in ("ann", "bob", "Bobby", "works", "w-0123456789ab", "request-1", "moving"):
        assert private not in text
    assert json.loads(text)["since"] == "2026-11-24T10:00:00+00:00"


def test_home_assistant_is_offered_sensors_and_nothing_to_send_to() -> None:
    """By the shape of its device discovery: each component a platform and an id of its own."""
    where = topics("sightglass", "munich.1", "homeassistant")
    assert where.discovery == "homeassistant/device/sightglass_munich_1/config"
    document = json.loads(discovery(where, "munich.1", "0.1.0"))
    assert (document["state_topic"], document["availability_topic"]) == (
        "sightglass/munich.1/state",
        "sightglass/munich.1/availability",
    )
    components = document["cmps"].values()
    assert {one["p"] for one in components} == {"sensor", "binary_sensor"}
    assert len({one["unique_id"] for one in components}) == len(components)
    assert document["dev"]["ids"]
    assert document["o"]["name"]
    assert "command" not in json.dumps(document)
    assert topics("sightglass", "munich.1", None).discovery is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "No such file or directory"),
        (b"", "must have one line of 1 to 1024 characters"),
        (b"\n", "must have one line of 1 to 1024 characters"),
        (b"one\ntwo\n", "must have one line of 1 to 1024 characters"),
        (b"x" * 2000, "must have one line of 1 to 1024 characters"),
        (b"\xff\xfe", "must be UTF-8"),
    ],
    ids=["none", "empty", "line end", "two lines", "long", "no text"],
)
def test_a_password_file_that_holds_none_is_one_sentence(tmp_path: Path, text: bytes | None, why: str) -> None:
    """The field, the file, the rule; never what stands in it."""
    path = tmp_path / "password"
    if text is not None:
        path.write_bytes(text)
        path.chmod(0o640)
    with pytest.raises(broker.Unfit) as unfit:
        broker.client(Mqtt(username="ann", password_file=str(path)), "state", listens=False)
    assert str(unfit.value).startswith(f"mqtt.password_file: {path}")
    assert why in str(unfit.value)
    path.write_bytes(b"right\n")
    path.chmod(0o644)
    with pytest.raises(broker.Unfit, match="must be closed to others, not of mode 0644"):
        broker._password(Mqtt(username="ann", password_file=str(path)))
    path.chmod(0o640)
    assert broker._password(Mqtt(username="ann", password_file=str(path))) == "right", "the control"


def test_a_ca_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    """Missing, and no certificate; with one, names are checked and nobody is believed without it."""
    path = tmp_path / "ca.pem"
    with pytest.raises(broker.Unfit, match=r"^mqtt\.ca_file: .*ca\.pem: No such file or directory$"):
        broker.client(Mqtt(ca_file=str(path)), "state", listens=False)
    path.write_text("none\n")
    with pytest.raises(broker.Unfit, match=r"^mqtt\.ca_file: .* must be a certificate in PEM"):
        broker.client(Mqtt(ca_file=str(path)), "state", listens=False)
    trustme.CA().cert_pem.write_to_path(path)
    context = broker._tls(Mqtt(ca_file=str(path)))
    assert context is not None
    assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)
    assert len(context.get_ca_certs()) == 1
