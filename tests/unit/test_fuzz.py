"""What comes from outside, in any shape: an answer of the contract or a plain no, and never another exception.

The shutter's protocol and MQTT payloads are fuzzed in their own files.
"""

from __future__ import annotations

import asyncio
import json
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sightglass.adapters.hook import Ask, Hook, _ask
from sightglass.adapters.tailnet import Tailnet, TailnetError
from sightglass.config import Config, ConfigError, load
from sightglass.console.news import NewsError, parse_job, parse_news
from sightglass.facts import Vpn
from sightglass.viewers import Needed, Peer, entitled
from tests.unit.feed_parts import free_port
from tests.unit.test_config import GOOD

BOUNDED = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
NASTY = st.sampled_from(
    ["", "\x00", "\ud800", "\u202e", "\x1b[2J", "${x}", "../..", "-1", "1e999", "NaN", "<script>", "100.64.0.2", "::%1"]
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | NASTY
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8) | NASTY, inner, max_size=3),
    max_leaves=12,
)


def changed(good: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A good document with one of its values, at any depth, replaced, removed or joined by a stranger."""

    def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        return [path, *(place for key, each in inner for place in places(each, (*path, key)))]

    def put(place: tuple[Any, ...], new: Any, how: str) -> dict[str, Any]:
        document: Any = json.loads(json.dumps(good))
        if not place:
            return {"": new} if how == "join" else new
        at = document
        for key in place[:-1]:
            at = at[key]
        if how == "remove":
            del at[place[-1]]
        elif how == "join" and isinstance(at, dict):
            at[str(new)[:20]] = new
        else:
            at[place[-1]] = new
        found: dict[str, Any] = document
        return found

    return st.builds(put, st.sampled_from(places(good)), JSON, st.sampled_from(["replace", "remove", "join"]))


ASK = {
    "ip": "100.64.0.2",
    "user": "",
    "password": "",
    "action": "read",
    "path": "cam1",
    "protocol": "rtsp",
    "query": "",
}


@pytest.mark.requirement("A5")
@BOUNDED
@given(
    st.binary(max_size=200)
    | JSON.map(lambda value: json.dumps(value).encode())
    | changed(ASK).map(lambda value: json.dumps(value).encode())
)
def test_the_hooks_question(body: bytes) -> None:
    """A question of strings, or none."""
    found = _ask(body)
    assert found is None or isinstance(found, Ask)


@pytest.mark.requirement("A5")
def test_the_hooks_wire() -> None:
    """Bytes that are no HTTP are hung up on, and the next question is answered."""

    async def talk() -> None:
        async def yes(_ask: Ask) -> bool:
            return True

        hook, port = Hook("/secret", yes), free_port()
        await hook.start(port)
        try:
            for junk in (
                b"",
                b"\x00" * 100,
                b"POST /secret HTTP/1.1\r\n\r\n",
                b"GET " + b"a" * 70_000,
                b"\r\n" * 50,
                b"POST /secret HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n" + b"x" * 10_000,
                b"POST /secret HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
                b"POST /secret HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            ):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(junk)
                writer.write_eof()
                answer = await asyncio.wait_for(reader.read(1000), 5)
                assert not answer or answer.startswith(b"HTTP/1.1 403 "), junk[:40]
                writer.close()
            async with httpx.AsyncClient(trust_env=False) as client:
                asked = await client.post(f"http://127.0.0.1:{port}/secret", content=json.dumps(ASK))
            assert asked.status_code == 204, "the control"
        finally:
            await hook.stop()

    asyncio.run(talk())  # fmt: skip


WHO = {
    "Node": {"StableID": "n1", "Name": "phone.lab.", "Addresses": ["100.64.0.2/32"], "Tags": [], "KeyExpiry": "2099"},
    "UserProfile": {"ID": 7, "LoginName": "ann"},
    "CapMap": {"example/cap": [{"sites": ["north"]}]},
}
STATUS = {"BackendState": "Running", "TUN": True, "TailscaleIPs": ["100.64.0.1"], "Self": {"Online": True}, "Peer": {}}


class Answers(httpx.AsyncBaseTransport):
    """A fake of tailscaled's local API: it gives what it was told to give."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.given = given

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The answer to one path."""
        name = request.url.path.rpartition("/")[2]
        return httpx.Response(200, content=json.dumps(self.given.get(name)))


def tailnet(given: dict[str, Any]) -> Tailnet:
    """A client of that fake."""
    made = Tailnet("/nowhere", "lo", "example/cap")
    made._http = httpx.AsyncClient(transport=Answers(given), base_url="http://local-tailscaled.sock/localapi/v0/")
    return made


@pytest.mark.requirement("A5")
@BOUNDED
@given(JSON | changed(WHO))
def test_the_answers_of_whois(who: Any) -> None:
    """A peer, nobody, or unknown; and what came is never more entitled than the good answer."""

    async def ask() -> Peer | None:
        return await tailnet({"whois": who}).whois(ip_address("100.64.0.2"))

    try:
        found = asyncio.run(ask())
    except TailnetError:
        return
    assert found is None or isinstance(found, Peer)
    if found is not None:
        entitled([found], Needed("north", ("cam1",)))


@pytest.mark.requirement("F3")
@BOUNDED
@given(JSON | changed(STATUS), JSON, JSON)
def test_the_answers_of_status(status: Any, prefs: Any, serve: Any) -> None:
    """What is not of the known shape is unknown."""

    async def ask() -> Vpn:
        return await tailnet({"status": status, "prefs": prefs, "serve-config": serve, "whois": WHO}).vpn(1.0)

    try:
        found = asyncio.run(ask())
    except TailnetError:
        return
    assert isinstance(found, Vpn)


@BOUNDED
@given(
    text=st.binary(max_size=200)
    | JSON.map(lambda v: json.dumps(v).encode())
    | changed(GOOD).map(lambda v: json.dumps(v).encode())
)
def test_the_configuration(tmp_path: Path, text: bytes) -> None:
    """A configuration or one sentence of printable text."""
    path = tmp_path / "agent.json"
    path.write_bytes(text)
    try:
        assert isinstance(load(path), Config)
    except ConfigError as error:
        said = str(error)
        assert "\n" not in said
        assert len(said) < 1000


JOB = {
    "job": {
        "site": "north", "purpose": "debug", "cameras": ["cam1"], "address": "100.64.0.1", "port": 8550, "server": 8889,
        "secret": "s" * 20,
    }
}  # fmt: skip
NEWS = {"seq": 1, "state": "open", "remaining_s": 1.0, "viewers": ["100.64.0.2"], "gone": {"100.64.0.3": "peer-gone"}}


@BOUNDED
@given(JSON | changed(JOB) | changed(NEWS))
def test_what_the_agent_tells_the_console(told: Any) -> None:
    """Taken or refused; the refusal holds nothing of what came, for a job has a secret in it."""
    for parse in (parse_job, parse_news):
        try:
            parse(json.dumps(told).encode())
        except NewsError as error:
            assert "s" * 20 not in str(error)
