"""What the doctor says of facts: each rule's verdict, evidence and step, and that the healthy case is ok."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest

from sightglass.adapters.tailnet import Tailnet, TailnetError
from sightglass.doctor import finding, host, site, vpn
from sightglass.doctor.finding import Finding
from sightglass.facts import Listener, NodeHealth
from sightglass.payload import Unreadable
from tests.unit.test_fuzz import STATUS
from tests.unit.test_guards import FACTS, LANE, NOW, VPN

pytestmark = pytest.mark.requirement("U1")
STANDING = NodeHealth(None, False, (), frozenset({"1", "2"}), {}, 1280, ("eth0", 1500))
MAY = frozenset({"1", "2"})
LOOK = site.Look(12, (1280, 720), 1.2)
WINDOW = {8554: "players", 8550: "the page"}
RUNS = {"LoadState": "loaded", "ActiveState": "active", "SubState": "running", "UnitFileState": "enabled"}
ENDED = {**RUNS, "ActiveState": "activating", "SubState": "auto-restart", "Result": "exit-code"}
SOUND = {name: {**RUNS, "Id": name, "NeedDaemonReload": "no"} for name in host.UNITS}
TABLE = {"nftables": [
    {"metainfo": {"version": "1"}},
    {"set": {"name": "lease4", "flags": ["timeout"], "handle": 1}},
    {"set": {"name": "sent4", "handle": 2}},
    {"set": {"name": "ports", "handle": 3, "elem": [8554]}},
    {"rule": {"chain": "in", "handle": 4, "expr": [{"counter": {"packets": 0, "bytes": 0}}, {"drop": None}]}},
    {"rule": {"chain": "out", "handle": 5, "expr": [{"set": {"op": "update", "elem": {}, "set": "@sent4"}}]}},
]}  # fmt: skip


def _table(change: Callable[[list[Any]], Any] = len) -> str:
    table = json.loads(json.dumps(TABLE))
    change(table["nftables"])
    return json.dumps(table)


def _vpn(**changes: Any) -> Finding:
    return vpn.vpn(dataclasses.replace(FACTS, vpn=dataclasses.replace(VPN, **changes)), None)


def _standing(**changes: Any) -> NodeHealth:
    return dataclasses.replace(STANDING, **changes)


def _key(left: timedelta, *, expired: bool = False) -> Finding:
    return vpn.key(_standing(key_expiry=NOW + left, key_expired=expired), NOW)


def _lane(**changes: Any) -> Finding:
    seen = dataclasses.replace(LANE, **changes)
    return site.lane(seen, frozenset({"idle", "occupied"}), "p/state", "p/beat")


def _camera(look: site.Look | None, *, near: bool = True, may: bool = True, shown: str | None = None) -> Finding:
    return site.camera("cam1", "127.0.0.1:8000", near, may, look, shown)


def _ports(*listeners: Listener) -> Finding:
    return site.ports(listeners, WINDOW, 8800, {("tcp", 8554): "other.service"})


HEALTHY: list[tuple[str, Finding]] = [
    ("vpn", _vpn()),
    ("contact", vpn.contact(FACTS)),
    ("key that never expires", vpn.key(STANDING, NOW)),
    ("key in two weeks", _key(timedelta(days=14))),
    ("health", vpn.health(STANDING)),
    ("mtu", vpn.mtu(STANDING, "tailscale0")),
    ("mtu without a default route", vpn.mtu(_standing(uplink=("", None)), "tailscale0")),
    ("viewers", vpn.may_watch(2, 1, "gw1", "x/cap/view", True)),
    ("path", vpn.path(STANDING, MAY)),
    ("path: somebody else is relayed", vpn.path(_standing(relayed={"2": "lab"}), frozenset({"1"}))),
    ("broker", site.broker("b:1883", True, None, 0.01)),
    ("lane", _lane()),
    ("camera", _camera(LOOK)),
    ("camera in a window", _camera(None, shown="live")),
    ("ports", _ports()),
    ("ports: loopback disturbs nobody", _ports(Listener("tcp", "127.0.0.1", 8554, 0))),
    ("ports: another address than the hook's", _ports(Listener("tcp", "10.0.0.1", 8800, 0))),
    ("load", site.load(FACTS)),
    ("clock", host.time(FACTS)),
    ("time source", host.synchronised(True)),
    ("enabled", host.enabled([], "/off")),
    ("room", host.room(5_000_000, True)),
    ("receipts", host.receipts({"ok": True, "events": 3})),
    ("files", host.files(None)),
    ("exposure", host.exposure(FACTS)),
    ("gate", host.gate(True, True)),
    ("gate in a window", host.gate_in_use()),
    ("rules", host.gate_rules(_table(), _table())),
    ("rules during a window", host.gate_rules(
        _table(lambda rows: (rows[1]["set"].update(elem=["100.64.0.2"]), rows[2]["set"].update(elem=["100.64.0.2"]),
                             rows[4]["rule"]["expr"][0]["counter"].update(packets=7),
                             rows[4]["rule"].update(handle=9))),
        json.dumps(TABLE))),
    ("agent", host.agent(RUNS, None, "")),
    ("configuration", host.configuration(None)),
    ("running configuration", host.running_configuration(None, True)),
    ("units", host.units(SOUND)),
]  # fmt: skip


@pytest.mark.parametrize("found", [found for _, found in HEALTHY], ids=[name for name, _ in HEALTHY])
def test_what_is_well_is_ok(found: Finding) -> None:
    """The control of every case below."""
    assert (found.verdict, found.do) == ("ok", ""), found
    assert found.evidence


ILL: list[tuple[str, Finding, str, str, str]] = [
    ("no answer", vpn.vpn(dataclasses.replace(FACTS, vpn=None), "tailscaled does not answer: refused"),
     "fail", "refused", "restart tailscaled"),
    ("logged out", _vpn(state="NeedsLogin"), "fail", "NeedsLogin", "sudo tailscale up"),
    ("approval", _vpn(state="NeedsMachineAuth"), "fail", "NeedsMachineAuth", "approve"),
    ("new state", _vpn(state="Odd"), "fail", "Odd", "systemctl"),
    ("no own address", _vpn(own=()), "fail", "no VPN address", "systemctl restart tailscaled"),
    ("no TUN", _vpn(tun=False), "fail", "TUN", "--tun=userspace-networking"),
    ("serve and ssh", _vpn(serves=("gw:443",), ssh_server=True), "fail", "gw:443", "reset`, then `sudo tailscale set"),
    ("routes", _vpn(advertised_routes=("10.0.0.0/8",)), "fail", "10.0.0.0/8", "--advertise-routes="),
    ("exit node", _vpn(exit_node="n1"), "fail", "exit node", "--exit-node="),
    ("silent control plane", vpn.contact(dataclasses.replace(FACTS, vpn=dataclasses.replace(VPN, contact_age_s=700))),
     "fail", "700 s", "tailscale netcheck"),
    ("control plane never heard", vpn.contact(dataclasses.replace(FACTS, vpn=dataclasses.replace(
        VPN, contact_age_s=None))), "unknown", "nothing was heard", "tailscale netcheck"),
    ("control plane without VPN", vpn.contact(dataclasses.replace(FACTS, vpn=None)), "unknown", "", "VPN first"),
    ("key near", _key(timedelta(days=13, hours=23)), "warn", "in 13 days", "renew it"),
    ("key over", _key(timedelta(seconds=-1)), "fail", "expired on", "log in again"),
    ("key marked", _key(timedelta(days=90), expired=True), "fail", "has expired", "log in again"),
    ("key not known", vpn.key(None, NOW), "unknown", "does not say", "VPN first"),
    ("health", vpn.health(_standing(health=("no DNS", "no relay"))), "warn", "no DNS; no relay", "netcheck"),
    ("small", vpn.mtu(_standing(mtu=1000), "ts0"), "fail", "1000 bytes", "ip link set dev ts0 mtu 1280"),
    ("large", vpn.mtu(_standing(mtu=1500), "ts0"), "warn", "1500 bytes", "mtu 1280"),
    ("small uplink", vpn.mtu(_standing(uplink=("ppp0", 1300)), "ts0"), "warn", "ppp0 takes packets of 1300", "ppp0"),
    ("no interface", vpn.mtu(_standing(mtu=None), "ts0"), "unknown", "could not be read", "VPN first"),
    ("nobody may", vpn.may_watch(0, 0, "gw1", "x/cap/view", True),
     "warn", "nobody", 'x/cap/view with {"sites": ["gw1"]}'),
    ("who may is not known", vpn.may_watch(0, 0, "gw1", "x/cap/view", False), "unknown", "not known", "VPN first"),
    ("relayed", vpn.path(_standing(relayed={"2": "lab"}), MAY), "warn", "1 of 2 active viewers' devices", "UDP"),
    ("broker refuses", site.broker("b:1", False, "[Errno 111] Connection refused", None), "fail", "refused", "start"),
    ("broker's password", site.broker("b:1", False, "[code:135] Not authorized", None), "fail", "Not auth", "password"),
    ("broker's TLS", site.broker("b:1", False, "[SSL: CERTIFICATE_VERIFY_FAILED] x", None), "fail", "SSL", "the CA"),
    ("broker beyond the sandbox", site.broker("b:1", False, "[Errno 1] Operation not permitted", None),
     "fail", "permit",
     "sightglass_agent_ip_allow"),
    ("broker's CA is gone", site.broker("b:1", False, "mqtt.ca_file: /etc/x: Permission denied", None), "fail",
     "/etc/x", "run site.yml"),
    ("broker's password's file", site.broker("b:1", False, "mqtt.password_file: /etc/x: No such file", None), "fail",
     "/etc/x", "run site.yml"),
    ("broker's name", site.broker("b:1", False, "[Errno -2] Name or service not known", None), "fail", "", "mqtt.host"),
    ("broker floods", site.broker("b:1", False, "more than 200 messages a second", None), "fail", "200", "send less"),
    ("broker, otherwise", site.broker("b:1", False, "odd", None), "fail", "odd", "answers at b:1"),
    ("broker, new", site.broker("b:1", False, None, None), "unknown", "yet", "ask again"),
    ("broker hangs", site.broker("b:1", True, None, 2.1), "fail", "not answered for 2 s", "log"),
    ("lane without broker", _lane(connected=False), "unknown", "not connected", "broker first"),
    ("no heartbeat", _lane(heartbeat_age_s=None), "unknown", "no heartbeat", "p/beat"),
    ("old heartbeat", _lane(heartbeat_age_s=9.0), "fail", "9 s old", "p/beat"),
    ("no state", _lane(state=None), "fail", "never published", "p/state"),
    ("no such path", _lane(state=Unreadable("its payload is no JSON")), "fail", "no JSON", "state_path"),
    ("old state", _lane(state_age_s=70.0, state_max_age_s=60.0), "fail", "70 s old", "state_max_age_s"),
    ("busy", _lane(state="occupied"), "warn", "'occupied'", "`debug`"),
    ("misspelt", _lane(state="Idle"), "warn", "'Idle'", "wait until the lane is clear"),
    ("camera refuses", _camera(site.Look(trouble="Connection refused")), "fail", "refused", "the port in cameras.cam1"),
    ("camera's path", _camera(site.Look(trouble="the server answers 'HTTP/1.0 404', not 200")),
     "fail", "404", "the path"),
    ("no stream", _camera(site.Look(trouble="Content-Type must be multipart")), "fail", "multipart", "MJPEG stream"),
    ("camera's name", _camera(site.Look(trouble="its name cannot be resolved")), "fail", "resolved", "the host"),
    ("frozen", _camera(site.Look(1, (8, 8), 1.2)), "fail", "one picture of 8x8", "does not change"),
    ("no JPEG", _camera(site.Look(9, None, 1.2)), "fail", "no JPEG", "MJPEG"),
    ("gate knows no such source", _camera(LOOK, may=False), "fail", "kernel gate", "sightglass_nftables_feed_sources"),
    ("far camera", _camera(None, near=False), "fail", "not on this gateway", "loopback"),
    ("not looked at", _camera(None), "unknown", "in time", "ask again"),
    ("in a window, not live", _camera(None, shown="stale"), "warn", "stale", "when the window has ended"),
    ("port", _ports(Listener("tcp", "0.0.0.0", 8554, 33)), "fail", "other.service listens on tcp 0.0.0.0:8554", "8554"),
    ("port, nobody knows whose", _ports(Listener("tcp", "::", 8550, 33)), "fail", "uid 33", "another port than 8550"),
    ("hook's port", _ports(Listener("tcp", "127.0.0.1", 8800, 33)), "fail", "the join check", "8800"),
    ("no time source", host.synchronised(False), "warn", "no time service", "chrony"),
    ("disabled", host.enabled([{"cause": "disabled", "user": "ann", "at": "then", "reason": "road"}], "/off"), "warn",
     "by ann at then: road", "sightglass enable"),
    ("fleet", host.enabled([{"cause": "fleet-off"}], "/off"), "warn", "whole fleet by ?", "fleet_on.yml"),
    ("switch", host.enabled([{"cause": "switch", "reason": "/off is there"}], "/off"), "warn", "are off", "rm /off"),
    ("full", host.room(500_000, False), "fail", "only 0 MB", "make room"),
    ("edited", host.receipts({"ok": False, "problems": [{"name": "edited", "why": "event 3 was"}]}),
     "fail", "edited, e",
     "receipts verify"),
    ("long chain", host.receipts(None), "unknown", "in time", "receipts verify"),
    ("file", host.files("/a is not pinned"), "fail", "/a", "drop_ins"),
    ("no gate", host.gate(False, True), "fail", "not loaded", "reload sightglass-nftables"),
    ("a probe that proves nothing", host.gate(True, False), "unknown", "no clear answer", "root"),
    ("no probe", host.gate(None, None), "unknown", "no clear answer", "root"),
    ("no table", host.gate_rules(None, json.dumps(TABLE)), "fail", "has no table", "reload"),
    ("no file", host.gate_rules(json.dumps(TABLE), None), "unknown", "could not be loaded", "site.yml"),
    ("a rule more", host.gate_rules(_table(lambda rows: rows.append(
        {"rule": {"chain": "in", "expr": [{"accept": 0}]}})), json.dumps(TABLE)),
     "fail", "differ in chain in", "reload"),
    ("a port less", host.gate_rules(_table(lambda rows: rows[3]["set"].update(elem=[])), json.dumps(TABLE)),
     "fail", "differ in set ports", "reload"),
    ("other order", host.gate_rules(_table(lambda rows: rows.append(rows.pop(3))), json.dumps(TABLE)), "fail",
     "their order", "reload"),
    ("stopped", host.agent({**RUNS, "ActiveState": "inactive", "SubState": "dead", "Result": "success"}, "gone", ""),
     "fail", "somebody stopped it", "systemctl start"),
    ("bad configuration", host.agent({**ENDED, "ExecMainStatus": "2"}, "gone", ""), "fail", "status 2", "agent.json"),
    ("crash", host.agent({**ENDED, "ExecMainStatus": "1"}, "gone", "no socket"),
     "fail", "its last word: no socket", "journalctl"),
    ("hangs", host.agent(RUNS, "no answer within 8 s", ""), "fail", "within 8 s", "restart"),
    ("not there", host.agent({"LoadState": "not-found"}, "gone", ""), "fail", "not installed", "site.yml"),
    ("not at boot", host.agent({**RUNS, "UnitFileState": "disabled"}, None, ""), "warn", "at boot", "enable"),
    ("no systemd", host.agent(None, "gone", ""), "fail", "gone", "gateway itself"),
    ("no systemd, but an answer", host.agent(None, None, ""), "unknown", "systemd", "ask again"),
    ("configuration", host.configuration("a.json: site: is missing"), "fail", "site: is missing", "site.yml"),
    ("unreadable", host.unchecked_configuration("may be read by root"), "unknown", "root", "sudo sightglass doctor"),
    ("changed to bad", host.running_configuration("it is bad", False), "fail", "it is bad", "before the next restart"),
    ("changed", host.running_configuration(None, False), "warn", "another one", "restart"),
    ("socket", host.units(SOUND | {host.UNITS[3]: {**RUNS, "ActiveState": "failed"}}),
     "fail", "shutter.socket is failed",
     "systemctl start sightglass-shutter.socket"),
    ("no such unit", host.units({key: SOUND[key] for key in host.UNITS[1:]}), "fail", "not installed", "site.yml"),
    ("not read", host.units(SOUND | {host.UNITS[0]: {**RUNS, "NeedDaemonReload": "yes"}}), "warn", "changed", "reload"),
    ("no word of systemd", host.units({}), "unknown", "does not say", "ask again"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("found", "verdict", "evidence", "do"), [each[1:] for each in ILL], ids=[each[0] for each in ILL]
)
def test_what_is_wrong_is_named_with_a_step(found: Finding, verdict: str, evidence: str, do: str) -> None:
    """Verdict, what was seen, and a step that fits it."""
    assert (found.verdict, evidence in found.evidence, do in found.do) == (verdict, True, True), found


def test_no_credential_is_shown() -> None:
    """Somebody's own words may hold a URL: neither its user nor its query is shown, and the rest is bounded."""
    said = 'cameras.cam1.url: must match, not "http://ann:geheim@cam/mjpeg?token=geheim"'
    found = finding.fail("configuration", said + "\n\x1b[31m" + "x" * 500, "mend it")
    assert "geheim" not in found.evidence
    assert "http://***@cam/mjpeg?***" in found.evidence
    assert found.evidence.isprintable()
    assert len(found.evidence) == finding.MOST_TEXT
    assert finding.ok("vpn", "is it on? yes").evidence == "is it on? yes", "a question is no query"


def test_a_narrow_screen_gets_a_line_for_each_part() -> None:
    """One line for what is ok; evidence and step under what is not; the counts at the end."""
    found = [finding.ok("vpn", "runs"), finding.fail("broker", "b:1: refused by the other side", "start the broker")]
    assert finding.lines(found) == [
        "ok      vpn: runs",
        "fail    broker",
        "    b:1: refused by the other side",
        "    do: start the broker",
        "1 ok, 1 fail",
    ]
    assert all(len(line) <= 30 for line in finding.lines(found, 30))
    assert finding.sound(found[:1])
    assert not finding.sound(found)
    assert finding.sound([finding.warn("vpn key", "it ends", "renew it")])
    assert not finding.sound([finding.unknown("vpn key", "who knows", "ask")])


def test_findings_of_another_shape_are_none() -> None:
    """An agent of another version must not be read as healthy."""
    good = {"part": "vpn", "verdict": "ok", "evidence": "runs", "do": ""}
    assert finding.read([good]) == [finding.ok("vpn", "runs")]
    for wrong in ({**good, "verdict": "fine"}, {"part": "vpn"}):
        with pytest.raises((KeyError, ValueError)):
            finding.read([wrong])


PEERS = {
    "k1": {"ID": "1", "Active": True, "CurAddr": "10.0.0.1:41641", "Relay": "lab", "PeerRelay": ""},
    "k2": {"ID": "2", "Active": True, "CurAddr": "", "Relay": "lab", "PeerRelay": ""},
    "k3": {"ID": "3", "Active": False, "CurAddr": "", "Relay": "lab", "PeerRelay": ""},
    "k4": {"ID": "4", "Active": True, "CurAddr": "", "Relay": "lab", "PeerRelay": "10.0.0.9:1"},
}


async def _ask(answer: Any) -> NodeHealth:
    tailnet = Tailnet("/nowhere", "lo", "x/cap/view")
    await tailnet.close()
    tailnet._http = httpx.AsyncClient(
        transport=httpx.MockTransport(lambda _: httpx.Response(200, json=answer)), base_url="http://t/"
    )
    try:
        return await tailnet.standing()
    finally:
        await tailnet.close()


def test_standing_is_read_from_tailscaleds_own_answer() -> None:
    """Relayed is who is active without a direct address or a peer's relay; a key without an end has none."""
    me: dict[str, Any] = dict(STATUS.get("Self") or {})  # type: ignore[call-overload]
    answer = {**STATUS, "Health": ["no DNS"], "Peer": PEERS, "Self": {**me, "KeyExpiry": "2026-12-01T10:00:00Z"}}
    found = asyncio.run(_ask(answer))
    assert (found.active, found.relayed) == (frozenset({"1", "2", "4"}), {"2": "lab"})
    assert found.health == ("no DNS",)
    assert found.mtu == 65536, "of lo"
    assert found.key_expiry is not None
    assert found.key_expiry.isoformat() == "2026-12-01T10:00:00+00:00"
    me.pop("KeyExpiry", None)
    assert asyncio.run(_ask({**STATUS, "Self": me})).key_expiry is None
    with pytest.raises(TailnetError):
        asyncio.run(_ask({"Self": {"KeyExpiry": "soon"}}))
