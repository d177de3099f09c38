"""The stream server's configuration: RTSP and WebRTC on one address, and nothing else. No I/O."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Sequence
from typing import NamedTuple

MAX_READERS = 12
"""Viewers of one camera at a time. The kernel gives one viewer six players and the console four pages: with four places
one viewer alone took them all."""
_CAMERA = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_HOOK_PATH = re.compile(r"/[A-Za-z0-9/_-]{1,200}")


class ServerPorts(NamedTuple):
    """Where players connect, where offers come, where WebRTC media leaves, and where the server asks for permission.

    Offers come from the console alone, for the kernel lets nobody else. Media is UDP, and TCP for browsers whose UDP
    fails behind a VPN.
    """

    rtsp: int
    offers: int
    media: int
    hook: int


def render(own4: str, ports: ServerPorts, hook_path: str, cameras: Sequence[str]) -> str:
    """mediamtx.yml for a window: RTSP over TCP and WebRTC on `own4`, permission asked at 127.0.0.1 and `hook_path`.

    Written for MediaMTX 1.20: it refuses keys that it does not know, and brings a listener up for a key that is not
    there. Hence every server has its line, and those that are off have a loopback address besides. ValueError names
    the argument that breaks its rule.
    """
    address = _ipv4(own4)
    for name, port in ports._asdict().items():
        if not 0 < port < 65536:
            raise ValueError(f"ports.{name} must be from 1 to 65535, not {port}")
    if not _HOOK_PATH.fullmatch(hook_path):
        raise ValueError(f"hook_path must match {_HOOK_PATH.pattern}")  # not its value: it is the hook's secret
    if not cameras or len(set(cameras)) != len(cameras):
        raise ValueError(f"cameras must be one or more different names, not {list(cameras)}")
    for camera in cameras:
        if not _CAMERA.fullmatch(camera):
            raise ValueError(f"a camera's name must match {_CAMERA.pattern}, not {camera!r}")
    head = _SERVER.format(
        rtsp=f"{address}:{ports.rtsp}",
        webrtc=f"{address}:{ports.offers}",
        media=f"{address}:{ports.media}",
        own4=address,
        hook=f"http://127.0.0.1:{ports.hook}{hook_path}",
        readers=MAX_READERS,
    )
    return head + "".join(_PATH.format(camera=camera) for camera in cameras)


def config_hash(text: str) -> str:
    """SHA-256 of a configuration, in hex: the guard compares it with that of the file in place."""
    return hashlib.sha256(text.encode()).hexdigest()


def _ipv4(text: str) -> ipaddress.IPv4Address:
    try:
        address = ipaddress.IPv4Address(text)
    except ValueError:
        raise ValueError(f"own4 must be an IPv4 address, not {text!r}") from None
    # 0.0.0.0 would listen on every interface, the others answer to more than one host or to none.
    if address.is_unspecified or address.is_multicast or address == ipaddress.IPv4Address("255.255.255.255"):
        raise ValueError(f"own4 must be the address of one host, not {text!r}")
    return address


# logLevel: at debug it prints requests with their Authorization. dumpPackets, record, playback, hlsDirectory and
# recordDeleteAfter are what could write a file. readTimeout also bounds the question to the hook.
_SERVER = """\
logLevel: info
logDestinations: [stdout]
logStructured: false
dumpPackets: false
readTimeout: 5s
writeTimeout: 5s
writeQueueSize: 512
runOnConnect: ""
runOnDisconnect: ""

authMethod: http
authHTTPAddress: {hook}
authHTTPExclude: []

api: false
apiAddress: 127.0.0.1:9997
apiAllowOrigins: []
metrics: false
metricsAddress: 127.0.0.1:9998
pprof: false
pprofAddress: 127.0.0.1:9999
playback: false
playbackAddress: 127.0.0.1:9996

rtsp: true
rtspTransports: [tcp]
rtspEncryption: "no"
rtspAddress: {rtsp}
rtspAuthMethods: [basic]

rtmp: false
rtmpAddress: 127.0.0.1:1935
hls: false
hlsAddress: 127.0.0.1:8888
hlsDirectory: ""
webrtc: true
webrtcAddress: {webrtc}
webrtcEncryption: false
webrtcAllowOrigins: []
webrtcTrustedProxies: []
webrtcLocalUDPAddress: {media}
webrtcLocalTCPAddress: {media}
webrtcIPsFromInterfaces: false
webrtcIPsFromInterfacesList: []
webrtcAdditionalHosts: ["{own4}"]
webrtcICEServers2: []
srt: false
srtAddress: 127.0.0.1:8890
moq: false
moqHTTP2Address: 127.0.0.1:8892
moqHTTP3Address: 127.0.0.1:8892
moqQUICAddress: 127.0.0.1:8893

pathDefaults:
  source: publisher
  overridePublisher: false
  maxReaders: {readers}
  record: false
  recordDeleteAfter: 0s
  alwaysAvailable: false
  forward: []

paths:
"""

_PATH = """\
  {camera}:
    source: publisher
    record: false
"""
