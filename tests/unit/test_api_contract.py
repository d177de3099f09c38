"""The API against its own document: requests made from docs/openapi.json, and what does not fit changes nothing."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest

from tests.contract import FITS, OPERATIONS, UNFIT, Asked, complaint, each
from tests.unit.api_parts import CHAIN, Connection, FakeAgent

pytestmark = [pytest.mark.requirement("U1"), pytest.mark.requirement("F3")]

COUNT = 40
# What no schema says: space around a reason does not count, and it is printable; to a schema 1.0 is an integer.
BEYOND = ("characters, it has", "printable", "must be a valid integer")


def asked_of(path: Path, asked: Asked) -> tuple[int, object]:
    """Status and answer, which is JSON but for the one that Prometheus reads."""
    with contextlib.closing(Connection(path)) as connection:
        headers = {} if asked.media is None else {"Content-Type": asked.media}
        connection.request(asked.method, asked.target, asked.body, headers)
        response = connection.getresponse()
        text, plain = response.read().decode(), response.headers.get_content_type() == "text/plain"
        return response.status, text if plain else json.loads(text)


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_what_fits_the_document_is_answered_by_it(shared: tuple[FakeAgent, Path], method: str, path: str) -> None:
    """Done, or refused by a rule that a schema cannot say; either in the documented shape."""
    agent, socket = shared
    done = []

    def look(asked: Asked) -> None:
        agent.__init__()  # type: ignore[misc]
        status, found = asked_of(socket, asked)
        assert complaint(method, path, status, found) is None, asked.said()
        if status == 422:
            assert any(rule in str(found) for rule in BEYOND), (asked.said(), found)
        else:
            done.append(status)

    assert each(method, path, FITS, COUNT, look) > 0
    assert done, "the control: some were asked of the agent"


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_what_does_not_fit_is_refused_and_reaches_nobody(
    shared: tuple[FakeAgent, Path], method: str, path: str
) -> None:
    """One sentence; the agent has not been asked, so nothing can have changed."""
    agent, socket = shared
    refused = 0

    def look(asked: Asked) -> None:
        nonlocal refused
        agent.__init__()  # type: ignore[misc]
        status, found = asked_of(socket, asked)
        assert complaint(method, path, status, found) is None, asked.said()
        if status == 200 and asked.body is None:
            return  # in a query everything is text: the number 7 that was to be a name has become one
        assert isinstance(found, dict)
        assert (status, found["code"], found["chain"]) == (422, "bad-request", CHAIN), (asked.said(), found)
        assert agent.asked == [], asked.said()
        refused += 1

    asked = each(method, path, UNFIT, COUNT, look)
    assert refused >= asked / 2
    takes_nothing = path in ("/v1/status", "/v1/doctor", "/v1/metrics")
    assert (asked == 0) == takes_nothing, "what takes nothing has nothing that does not fit"
