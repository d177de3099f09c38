"""What of a viewer's offer reaches the stream server."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightglass.console.offers import without_candidates

HEAD = b"v=0\r\ns=-\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=ice-ufrag:abcd"
HOOK = b"a=candidate:1 1 tcp 1671430143 127.0.0.1 8800 typ host tcptype passive"
REST = b"a=mid:0\r\n"


@pytest.mark.requirement("A1")
@pytest.mark.parametrize("end", [b"\r\n", b"\n", b"\n\r", b"\r\n\r", b"\r\r\n"])
def test_the_addresses_of_an_offer_are_taken_out(end: bytes) -> None:
    """Whatever ends the lines (the server's reader takes all of these); the rest stays as it is."""
    taken = without_candidates(end.join([HEAD, HOOK, HOOK, REST]))
    assert taken == without_candidates(end.join([HEAD, REST]))
    assert b"candidate" not in taken
    assert taken.split(b"\r\n") == [*HEAD.split(b"\r\n"), *REST.split(b"\r\n")]


@pytest.mark.requirement("A1")
@given(st.lists(st.sampled_from([HEAD, HOOK, b"a=candidate", b"\r", b"\n", b" ", b"a", b"=candidate:"])))
def test_no_mixture_leaves_one(parts: list[bytes]) -> None:
    """No line that is left begins as a candidate does, also when what was taken out joins its neighbours."""
    assert not re.search(rb"(^|[\r\n])a=candidate", without_candidates(b"".join(parts)))
