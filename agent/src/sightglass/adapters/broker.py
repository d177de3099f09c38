"""The way to the site's broker: who the agent is there, and whom it believes to be the broker."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import ssl
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from sightglass.config import Mqtt

MOST_PACKET = 65_536
"""Bytes that the broker may send at once: a payload may have 256 MB, and the agent has not. MQTT 5 lets us tell the
broker so; one that does not care is hung up on."""
_ANSWERS = frozenset({0x20, 0x40, 0x90, 0xB0, 0xD0, 0xE0})
"""CONNACK, PUBACK, SUBACK, UNSUBACK, PINGRESP, DISCONNECT: what a broker answers, by a packet's first byte. Whatever
else it may send is kept or answered by the library without a bound."""
_MESSAGES = frozenset({0x30, 0x31})
"""PUBLISH with QoS 0, fresh or retained: nothing is subscribed to with more."""
MOST_PASSWORD = 1024
STEADY_S = 15.0
"""A connection that lasted so long was one: the next loss is a new one, and is logged."""
_BACK_OFF_S = (0.5, 1.0, 2.0, 5.0, 10.0)


class Lost(Exception):  # noqa: N818 - the broker's doing or a person's, not a fault of this program
    """A connection cannot be had, or is given up; the message says why."""


class Unfit(Lost):
    """There is no way to the broker with what is configured; the message names the field."""


def identifier(site: str) -> str:
    """Who speaks for a site at the broker: the same after a line that broke without a word.

    The broker ends the older connection of a name before it takes the newer, and its last will goes out before that one
    speaks. It has 81 bytes at most; MQTT 5 promises room for 23, brokers have far more, and one that has not is named.
    Two gateways with one site name throw each other out, at the pace of the back-off, and so does whoever connects by
    it. Who only listens has no last will, and stays nameless: nobody can throw it out.
    """
    return f"sightglass-{site}-state"


def client(mqtt: Mqtt, name: str | None = None, *, listens: bool, **more: Any) -> aiomqtt.Client:
    """A client that has yet to connect; at the broker it is `name`, or the broker calls it something. One that does not
    listen takes no message.

    Raises Unfit. The files are read each time, so that a new password or CA counts from the next connection on.
    """
    connect = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    connect.MaximumPacketSize = MOST_PACKET
    made = aiomqtt.Client(
        mqtt.host,
        mqtt.port,
        identifier=name,
        username=mqtt.username,
        password=_password(mqtt),
        tls_context=_tls(mqtt),
        timeout=5,
        keepalive=10,
        protocol=aiomqtt.ProtocolVersion.V5,
        properties=connect,
        **more,
    )
    _bound(made, _ANSWERS | _MESSAGES if listens else _ANSWERS)
    return made


async def keep(
    life: Callable[[int], Awaitable[None]], lost: Callable[[Exception, bool], None], now: Callable[[], float]
) -> None:
    """Live one connection after the other until cancelled, with back-off and jitter between them.

    `life` is told how many have failed in a row; `lost` why one has ended, and whether that is news.
    """
    failures = 0
    while True:
        began = now()
        try:
            await life(failures)
        except (aiomqtt.MqttError, Lost) as error:
            if now() >= began + STEADY_S:
                failures = 0
            lost(error, failures == 0)
        delay = _BACK_OFF_S[min(failures, len(_BACK_OFF_S) - 1)] * random.uniform(0.8, 1.2)
        failures += 1
        await asyncio.sleep(delay)


def _bound(made: aiomqtt.Client, may_come: frozenset[int]) -> None:
    """Hang up on a packet that is too long or none of these, before any of it is read.

    The library asks its socket for the whole rest of a packet, and keeps what came until it is whole.
    """
    paho: Any = made._client
    try:
        receive, _ = paho._sock_recv, paho._in_packet["command"]
    except (AttributeError, KeyError):
        raise Unfit("this version of the MQTT library cannot be bounded") from None

    def bounded(size: int) -> bytes:
        # 0 before the first byte is there.
        kind = paho._in_packet["command"]
        if size > MOST_PACKET or (kind and kind not in may_come):
            # The one kind of error with which the library closes its socket.
            raise OSError(errno.EMSGSIZE, f"the broker sent what nobody asked for (0x{kind:02x}, {size} bytes)")
        data: bytes = receive(size)
        return data

    paho._sock_recv = bounded


def _password(mqtt: Mqtt) -> str | None:
    if mqtt.password_file is None:
        return None
    try:
        with Path(mqtt.password_file).open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            text = file.read(MOST_PASSWORD + 1).rstrip(b"\r\n").decode()
    except OSError as error:
        raise Unfit(f"mqtt.password_file: {mqtt.password_file}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise Unfit(f"mqtt.password_file: {mqtt.password_file} must be UTF-8") from None
    if mode & stat.S_IRWXO:
        raise Unfit(f"mqtt.password_file: {mqtt.password_file} must be closed to others, not of mode {mode:04o}")
    if not 1 <= len(text) <= MOST_PASSWORD or not text.isprintable():
        raise Unfit(f"mqtt.password_file: {mqtt.password_file} must have one line of 1 to {MOST_PASSWORD} characters")
    return text


def _tls(mqtt: Mqtt) -> ssl.SSLContext | None:
    if mqtt.ca_file is None:
        return None
    try:
        # The server's name is checked, and its certificate against this CA alone.
        return ssl.create_default_context(cafile=mqtt.ca_file)
    except ssl.SSLError as error:
        raise Unfit(f"mqtt.ca_file: {mqtt.ca_file} must be a certificate in PEM: {error.reason or error}") from error
    except OSError as error:
        raise Unfit(f"mqtt.ca_file: {mqtt.ca_file}: {error.strerror}") from error
