"""The table of verbs: what is taken, and that everything else is refused with one sentence."""

from __future__ import annotations

import ipaddress
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sightglass.shutter.gate import SETS, TABLE, Ports, elements, script
from sightglass.shutter.verbs import MAX_LINE, MAX_VIEWERS, Close, ProtocolError, Renew, parse

GOOD: dict[str, Any] = {
    "verb": "renew",
    "own": ["100.64.0.1", "fd7a::1"],
    "viewers": ["100.64.0.2", "fd7a::2"],
    "seconds": 15,
}
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def line(**changed: Any) -> bytes:
    return json.dumps(GOOD | changed).encode()


@pytest.mark.requirement("F3")
def test_a_renewal_and_a_close_are_understood() -> None:
    """Both verbs give values, addresses parsed and viewers without repetition."""
    renew = parse(line(viewers=["100.64.0.2", "100.64.0.2", "FD7A::2"]))
    assert isinstance(renew, Renew)
    assert renew.viewers == {ipaddress.ip_address("100.64.0.2"), ipaddress.ip_address("fd7a::2")}
    assert parse(b'{"verb":"close"}\n') == Close()


REFUSED = {
    "no JSON": b"renew",
    "not UTF-8": b'{"verb":"\xff"}',
    "deep nesting": b"[" * 4000,
    "a list": b"[]",
    "NaN": line(seconds=float("nan")),
    "a huge number": b'{"verb":"close","x":' + b"9" * 4000 + b"}",
    "no verb": b"{}",
    "an unknown verb": b'{"verb":"open"}',
    "a verb that is no text": b'{"verb":["close"]}',
    "a field more": line(ports=[22]),
    "a field less": b'{"verb":"renew","own":["100.64.0.1"],"viewers":[]}',
    "a key twice": b'{"verb":"close","verb":"close"}',
    "seconds true": line(seconds=True),
    "seconds 0": line(seconds=0),
    # Numbers, not the constant: the bound itself is what is promised.
    "seconds over the bound": line(seconds=16),
    "seconds of an hour": line(seconds=3600),
    "seconds as text": line(seconds="15"),
    "seconds with a point": line(seconds=1.5),
    "no own address": line(own=[]),
    "two own addresses of a family": line(own=["100.64.0.1", "100.64.0.9"]),
    "three own addresses": line(own=["100.64.0.1", "fd7a::1", "fd7a::9"]),
    "a network": line(viewers=["100.64.0.0/10"]),
    "a number as an address": line(viewers=[1681915906]),
    "an nft expression": line(viewers=["100.64.0.2 timeout 1h"]),
    "a line break": line(viewers=["100.64.0.2\nflush ruleset"]),
    "a zone": line(viewers=["fe80::1%lan0"]),
    "a zone with an expression": line(viewers=["fd7a::2%}; flush ruleset"]),
    "an IPv4 address in IPv6": line(viewers=["::ffff:100.64.0.2"]),
    "loopback": line(viewers=["127.0.0.1"]),
    "every address": line(own=["0.0.0.0"]),
    "multicast": line(viewers=["ff02::1"]),
    "broadcast": line(viewers=["255.255.255.255"]),
    "an own address as viewer": line(viewers=["100.64.0.1"]),
    "too many viewers": line(viewers=[f"100.64.1.{n}" for n in range(MAX_VIEWERS + 1)]),
    "too long a line": b'{"verb":"close"}' + b" " * MAX_LINE,
}


@pytest.mark.requirement("F3")
@pytest.mark.parametrize("said", REFUSED.values(), ids=REFUSED.keys())
def test_anything_else_is_refused_with_a_sentence(said: bytes) -> None:
    """Each kind of malformed line raises ProtocolError and nothing else."""
    with pytest.raises(ProtocolError, match=r"^.{10,200}$"):
        parse(said)


@pytest.mark.requirement("F3")
@given(st.binary(max_size=200) | ANY_JSON.map(lambda value: json.dumps(value).encode()))
@example(b'{"verb":"close"}')
def test_no_bytes_raise_anything_but_a_refusal(said: bytes) -> None:
    """Random bytes and random JSON are a verb or a ProtocolError."""
    try:
        verb = parse(said)
    except ProtocolError:
        return
    assert isinstance(verb, Renew | Close)


@pytest.mark.requirement("F3")
@given(st.sampled_from(["own", "viewers", "seconds", "verb"]), ANY_JSON)
def test_no_value_of_a_field_gets_a_foreign_word_into_nft(field: str, value: object) -> None:
    """Whatever is accepted, the transaction consists of addresses, ports and the words of the shutter itself."""
    try:
        verb = parse(line(**{field: value}))
    except ProtocolError:
        return
    if isinstance(verb, Renew):
        words = {"flush", "set", "add", "element", *TABLE.split(), *SETS, "tcp", "udp", "timeout", "{", "}", "."}
        for word in script(elements(verb, Ports((8554,), (8189,), (8889,))), verb.seconds).split():
            bare = word.rstrip(",")
            assert bare in words or bare in {"8554", "8189", "8889", f"{verb.seconds}s"} or ipaddress.ip_address(bare)
