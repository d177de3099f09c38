"""How old the agent's knowledge is: counted from the question, whatever the answer takes."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest

from sightglass.adapters import clock, sockets
from sightglass.adapters.tailnet import MOST_PEERS, Tailnet
from sightglass.facts import Listener
from sightglass.observer import ASK_S, FRESH_S, Observer
from tests.unit.observer_parts import observer
from tests.unit.test_fuzz import STATUS, WHO


class Slow(httpx.AsyncBaseTransport):
    """A fake of tailscaled's local API that takes `seconds` for each peer; `peers` are its StableIDs."""

    def __init__(self, peers: list[str], seconds: float) -> None:
        self.peers, self.seconds, self.asked = peers, seconds, 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """One answer."""
        name = request.url.path.rpartition("/")[2]
        answer: Any = {}
        if name == "status":
            answer = {**STATUS, "Peer": {f"key:{peer}": self._peer(peer) for peer in self.peers}}
        elif name == "whois":
            self.asked += 1
            await asyncio.sleep(self.seconds)
            address = request.url.params["addr"]
            peer = next(each for each in self.peers if self._peer(each)["TailscaleIPs"] == [address])
            node: dict[str, Any] = dict(WHO["Node"])  # type: ignore[call-overload]
            answer = {**WHO, "Node": {**node, "StableID": peer}, "CapMap": {"example/cap": [{"sites": ["*"]}]}}
        return httpx.Response(200, content=json.dumps(answer))

    def _peer(self, peer: str) -> dict[str, Any]:
        number = int(peer.removeprefix("n"))
        return {"ID": peer, "TailscaleIPs": [f"100.64.{number // 200}.{number % 200 + 2}"]}


def made(api: Slow, tmp_path: Path) -> tuple[Observer, Tailnet]:
    """An observer that asks this fake."""
    tailnet = Tailnet("/nowhere", "lo", "example/cap")
    tailnet._http = httpx.AsyncClient(transport=api, base_url="http://local-tailscaled.sock/localapi/v0/")
    return observer(tmp_path, tailnet=tailnet), tailnet


@pytest.mark.requirement("A5")
def test_an_answer_counts_from_its_question(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """tailscaled took half a second for it: that much it is older than its arrival."""
    found, _ = made(Slow(["n1"], 0.5), tmp_path)
    asyncio.run(found.refresh())
    assert found.vpn() is not None, "the control: it is known at first"
    now = clock.boottime()
    monkeypatch.setattr(clock, "boottime", lambda: now + FRESH_S - 0.3)
    assert found.vpn() is None


@pytest.mark.requirement("O2")
def test_a_broker_that_hangs_does_not_age_what_others_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look around that waits for it as long as may be, and still knows the VPN: the broker is to blame, not that."""
    found, _ = made(Slow(["n1"], 0.0), tmp_path)

    async def hangs(seconds: float) -> float:
        await asyncio.sleep(seconds + 0.1)
        return seconds

    monkeypatch.setattr(found._lanes, "round_trip", hangs)
    asyncio.run(found.renew())
    assert found.vpn() is not None


@pytest.mark.requirement("A5")
def test_an_answer_that_takes_too_long_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each peer within its own deadline, and all together without end: who may watch was not known for minutes."""
    assert 2 * ASK_S <= FRESH_S, "after an answer that is still awaited, the next one is asked for in time"
    api = Slow([f"n{number}" for number in range(100)], 3600.0)
    found, _ = made(api, tmp_path)
    monkeypatch.setattr("sightglass.observer.ASK_S", 0.01)
    asyncio.run(asyncio.wait_for(found.refresh(), 60))
    assert found.vpn() is None
    # As long as this machine needs, for an answer that comes; and its time stands still, so that it stays fresh.
    monkeypatch.setattr("sightglass.observer.ASK_S", 60.0)
    monkeypatch.setattr(clock, "boottime", lambda: 100.0)
    api.seconds = 0.0
    asyncio.run(found.refresh())
    assert len(found.vpn().peers) == 100  # type: ignore[union-attr]


@pytest.mark.requirement("U5")
def test_a_silence_is_logged_once_until_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """At first too, for each reason, and again after an answer."""
    api = Slow(["n1"], 0.0)
    found, tailnet = made(api, tmp_path)
    whole, why = tailnet.vpn, ["refused"]

    async def silent(_asked: float) -> Any:
        raise OSError(why[0])

    def refuse(*_: object) -> Any:
        raise OSError(why[0])

    def logged(times: int) -> list[str]:
        caplog.clear()
        for _ in range(times):
            asyncio.run(found.refresh())
            asyncio.run(found.look())
        return [record.getMessage() for record in caplog.records]

    assert logged(1) == [], "the control: all is known"
    read = sockets.read
    for _ in range(2):
        monkeypatch.setattr(tailnet, "vpn", silent)
        monkeypatch.setattr(sockets, "read", refuse)
        assert logged(3) == [
            "vpn: tailscaled does not answer: refused",
            "exposure: the kernel does not tell who listens: refused",
        ]
        why[0] = "gone"
        assert logged(3) == [
            "vpn: tailscaled does not answer: gone",
            "exposure: the kernel does not tell who listens: gone",
        ]
        why[0] = "refused"
        monkeypatch.setattr(tailnet, "vpn", whole)
        monkeypatch.setattr(sockets, "read", read)
        assert logged(1) == []


@pytest.mark.requirement("A5")
def test_an_older_answer_never_takes_the_place_of_a_newer_one(tmp_path: Path) -> None:
    """A slow one arrives last; and two who wait for the same question ask one more, not two."""
    api = Slow(["n1"], 0.0)
    found, _ = made(api, tmp_path)

    async def late() -> None:
        now = clock.boottime()
        await found._ask(now)
        api.peers = ["n1", "n2"]
        await found._ask(now - 1)
        assert [peer.node for peer in found.vpn().peers] == ["n1"]  # type: ignore[union-attr]
        api.asked, api.seconds = 0, 0.1
        await asyncio.gather(found.refresh(), found.refresh(), found.refresh())
        assert api.asked == 2 * len(api.peers)

    asyncio.run(late())


@pytest.mark.requirement("P2")
def test_who_could_watch_is_asked_about_first(tmp_path: Path) -> None:
    """Devices that come later do not make a viewer unknown, and that some are left out is said."""
    api = Slow(["n500"], 0.0)
    found, tailnet = made(api, tmp_path)
    asyncio.run(found.refresh())
    api.peers, api.asked = [*(f"n{number}" for number in range(MOST_PEERS + 5)), "n500"], 0
    vpn = asyncio.run(tailnet.vpn(1.0))
    assert "n500" in {peer.node for peer in vpn.peers}
    assert (api.asked, vpn.unasked) == (MOST_PEERS, 6)


@pytest.mark.requirement("A1")
def test_a_kernel_that_cannot_tell_is_no_empty_answer() -> None:
    """As without the module udp_diag; a protocol that has no module stands for it. UDP's own answer is the control."""
    assert list(sockets._dump(socket.AF_INET, socket.IPPROTO_UDP, 0)) == []
    with pytest.raises(OSError, match="netlink refused"):
        list(sockets._dump(socket.AF_INET, 200, 0))


@pytest.mark.requirement("A1")
def test_the_kernel_tells_who_listens_and_who_is_connected() -> None:
    """Ours by user on any port, and anybody on our ports; both families, TCP and UDP. Others are nobody's business."""
    with (
        socket.create_server(("127.0.0.1", 0)) as four,
        socket.create_server(("::1", 0), family=socket.AF_INET6) as six,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
    ):
        datagrams.bind(("127.0.0.1", 0))
        port = four.getsockname()[1]
        own = os.getuid()
        wanted = {
            Listener("tcp", "127.0.0.1", port, own),
            Listener("tcp", "::1", six.getsockname()[1], own),
            Listener("udp", "127.0.0.1", datagrams.getsockname()[1], own),
        }
        assert wanted <= sockets.read({own}, ()).listeners
        assert not wanted & sockets.read({own + 12_345}, ()).listeners
        assert sockets.read((), {port}).listeners == {Listener("tcp", "127.0.0.1", port, own)}
        assert sockets.read((), {port}).connected == frozenset()
        with socket.create_connection(("127.0.0.1", port)) as caller, four.accept()[0]:
            assert {place for place, _ in sockets.read((), {port}).connected} == {port}
            assert sockets.read((), ()).connected == frozenset()
            assert str(next(iter(sockets.read((), {port}).connected))[1]) == caller.getsockname()[0]
