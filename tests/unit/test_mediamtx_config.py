"""MediaMTX's configuration, as text and in the real server."""

from __future__ import annotations

import re
import signal
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from lab.wait import until
from sightglass.mediamtx import ServerPorts, config_hash, render
from tests.unit.feed_parts import Hook, StreamServer

SERVERS_OFF = ["api", "metrics", "pprof", "playback", "rtmp", "hls", "srt", "moq"]


PORTS = ServerPorts(8554, 8889, 8189, 8800)


def config(**changes: object) -> str:
    arguments: dict[str, object] = {
        "own4": "100.64.0.7",
        "ports": PORTS,
        "hook_path": "/auth/abc",
        "cameras": ["cam1", "cam2"],
    }
    return render(**(arguments | changes))  # type: ignore[arg-type]


@pytest.mark.requirement("A1")
@pytest.mark.requirement("P1")
def test_the_configuration_pins_every_server_and_every_way_to_record() -> None:
    """RTSP and WebRTC at the given address, everything else off, nothing recorded, each join asked for."""
    values = yaml.safe_load(config())
    assert all(values[name] is False for name in SERVERS_OFF)
    assert values["rtspAddress"] == "100.64.0.7:8554"
    assert values["webrtcAddress"] == "100.64.0.7:8889"
    assert values["webrtcLocalUDPAddress"] == values["webrtcLocalTCPAddress"] == "100.64.0.7:8189"
    assert (values["webrtcIPsFromInterfaces"], values["webrtcAdditionalHosts"]) == (False, ["100.64.0.7"])
    assert [values[f"webrtc{name}"] for name in ("ICEServers2", "AllowOrigins", "TrustedProxies")] == [[], [], []]
    assert values["rtspTransports"] == ["tcp"]
    assert values["rtspEncryption"] == "no"
    assert (values["authMethod"], values["authHTTPExclude"]) == ("http", [])
    assert values["authHTTPAddress"] == "http://127.0.0.1:8800/auth/abc"
    assert (values["logLevel"], values["dumpPackets"]) == ("info", False)
    assert values["pathDefaults"]["record"] is False
    assert values["pathDefaults"]["maxReaders"] == 12
    assert values["paths"] == {name: {"source": "publisher", "record": False} for name in ("cam1", "cam2")}
    ours = ("rtspAddress", "webrtcAddress", "webrtcLocalUDPAddress", "webrtcLocalTCPAddress")
    others = [value for key, value in values.items() if key.endswith("Address") and key not in ours]
    assert all(re.match(r"(http://)?127\.0\.0\.1:|$", value) for value in others), others


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"own4": "0.0.0.0"}, "own4 must be the address of one host, not '0.0.0.0'"),
        ({"own4": "224.0.0.1"}, "own4 must be the address of one host"),
        ({"own4": "fd7a::1"}, "own4 must be an IPv4 address, not 'fd7a::1'"),
        ({"ports": PORTS._replace(rtsp=0)}, "ports.rtsp must be from 1 to 65535, not 0"),
        ({"ports": PORTS._replace(hook=70000)}, "ports.hook must be from 1 to 65535, not 70000"),
        ({"hook_path": "/a\napi: true"}, "hook_path must match"),
        ({"cameras": []}, "cameras must be one or more different names"),
        ({"cameras": ["a", "a"]}, "cameras must be one or more different names"),
        ({"cameras": ["all_others:\n"]}, "a camera's name must match"),
    ],
)
def test_an_argument_that_breaks_its_rule_is_refused(change: dict[str, object], says: str) -> None:
    """Nothing that is not an address, a port, a path or a name gets into the file."""
    with pytest.raises(ValueError, match=says):
        config(**change)


def test_the_hash_is_of_the_text() -> None:
    """Equal text, equal hash; any change, another one."""
    assert config_hash(config()) == config_hash(config())
    assert config_hash(config()) != config_hash(config(ports=PORTS._replace(rtsp=8555)))
    assert re.fullmatch(r"[0-9a-f]{64}", config_hash(config()))


def sockets_of(pid: int) -> list[str]:
    """Local "address:port" in hex of the listening TCP and of all UDP sockets of a process, both families."""
    inodes = set()
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        found = re.fullmatch(r"socket:\[(\d+)\]", str(fd.readlink()))
        inodes |= {found[1]} if found else set()
    local = []
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for row in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            columns = row.split()
            if columns[9] in inodes and (table.startswith("udp") or columns[3] == "0A"):
                local.append(f"{table} {columns[1]}")
    return local


@pytest.mark.requirement("A1")
def test_the_real_server_takes_it_and_listens_once(tmp_path: Path) -> None:
    """MediaMTX starts with it, listens at the given address for players, offers and media alone, and writes no file."""
    with closing(Hook()) as hook, closing(StreamServer(tmp_path, hook)) as server:
        assert server.process is not None
        until(lambda: "started with listeners" in server.log, 5, "a listening MediaMTX")
        ports = server.ports
        tcp = [f"tcp 0100007F:{port:04X}" for port in (ports.rtsp, ports.offers, ports.media)]
        assert sorted(sockets_of(server.process.pid)) == sorted([*tcp, f"udp 0100007F:{ports.media:04X}"]), server.log
        assert "deprecated" not in server.log
        server.signal(signal.SIGTERM)
        server.process.wait(3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mediamtx.log", "mediamtx.yml"]
