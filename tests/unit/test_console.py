"""The console as its unit runs it: a process, the agent's channel, and pages that ask over HTTP."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightglass.console.news import NewsError, parse_job, parse_news
from tests.unit.feed_parts import free_port

WAIT_S = 10.0
VIEWER = "127.0.0.1"
JOB: dict[str, Any] = {
    "site": "lab-gw1", "purpose": "alignment", "cameras": ["cam1"], "address": "127.0.0.1", "port": 8550,
    "server": 8889, "secret": "x" * 32,
}  # fmt: skip
NEWS: dict[str, Any] = {
    "seq": 1, "state": "open", "cause": None, "why": None, "remaining_s": 600.0, "viewers": [VIEWER],
}  # fmt: skip


class Agent:
    """The agent's end of the channel."""

    def __init__(self, place: Path) -> None:
        self.port = free_port()
        self.job = {**JOB, "port": self.port, "server": free_port()}
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(place / "console.sock"))
        self._listener.listen()
        self._listener.settimeout(WAIT_S)
        command = [sys.executable, "-m", "sightglass.console.main", "--channel", str(place / "console.sock")]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self._peer, _ = self._listener.accept()
        self._peer.settimeout(WAIT_S)
        self._lines = self._peer.makefile("r")
        self.say({"job": self.job})
        assert self.hear() == {"watching": []}

    @property
    def url(self) -> str:
        """The page."""
        return f"http://127.0.0.1:{self.port}/"

    def say(self, message: object) -> None:
        """One line."""
        self._peer.sendall(json.dumps(message).encode() + b"\n")

    def tell(self, **changes: object) -> None:
        """News, and its confirmation."""
        self.say({**NEWS, **changes})
        seq = changes.get("seq", 1)
        while self.hear() != {"told": seq}:
            pass

    def hear(self) -> dict[str, Any]:
        """The next line."""
        heard: dict[str, Any] = json.loads(self._lines.readline())
        return heard

    def hang_up(self) -> None:
        """The channel's end."""
        self._peer.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Whatever happened."""
        self.process.kill()
        self.process.communicate()
        self._lines.close()
        self._peer.close()
        self._listener.close()


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    """A console that has its job."""
    with closing(Agent(tmp_path)) as agent:
        yield agent


@contextmanager
def page(agent: Agent) -> Iterator[tuple[str, Iterator[dict[str, Any]]]]:
    """An open page: its id, and what it is told."""
    with httpx.stream("GET", f"{agent.url}events", timeout=WAIT_S, trust_env=False) as answer:
        assert answer.status_code == 200
        lines = answer.iter_lines()
        assert next(lines) == "event: page"
        name = next(lines).removeprefix("data: ")

        def told() -> Iterator[dict[str, Any]]:
            for line in lines:
                if line.startswith("data: {"):
                    yield json.loads(line.removeprefix("data: "))

        yield name, told()


def get(agent: Agent, path: str = "", **headers: str) -> httpx.Response:
    """One request."""
    return httpx.get(f"{agent.url}{path}", headers=headers, timeout=WAIT_S, trust_env=False)


@pytest.mark.requirement("O3")
def test_a_viewer_gets_the_page_and_its_parts(agent: Agent) -> None:
    """With a policy that lets no other origin's script in; nothing of it is kept."""
    agent.tell()
    for path, kind in (("", "text/html"), ("page.js", "text/javascript"), ("page.css", "text/css")):
        answer = get(agent, path)
        assert (answer.status_code, answer.headers["Content-Type"].split(";")[0]) == (200, kind)
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'")
        assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.requirement("A5")
def test_who_is_no_viewer_gets_nothing(agent: Agent) -> None:
    """Before the agent's first word, without being named in its last, and after the end."""
    assert get(agent).status_code == 403
    agent.tell(viewers=["100.64.0.9"])
    assert get(agent).status_code == 403
    agent.tell(seq=2)
    assert get(agent).status_code == 200, "the control: named, it is served"
    agent.tell(seq=3, state="ended", cause="closed")
    assert get(agent).status_code == 403


@pytest.mark.requirement("A5")
def test_another_name_for_the_gateway_is_refused(agent: Agent) -> None:
    """A foreign page in a viewer's browser whose own name was made to point here sends that name."""
    agent.tell()
    assert get(agent, Host=f"evil.example:{agent.port}").status_code == 421
    assert get(agent, Host=f"127.0.0.1:{agent.port}").status_code == 200


@pytest.mark.requirement("O5")
def test_a_page_hears_each_change_and_the_end(agent: Agent) -> None:
    """In the order in which they happen; the confirmation comes when the page has it, and the stream ends."""
    agent.tell()
    with page(agent) as (_, told):
        assert next(told)["state"] == "open"
        agent.tell(seq=2, state="suspended", why="lane1 is 'moving'")
        suspended = next(told)
        assert (suspended["state"], suspended["why"]) == ("suspended", "lane1 is 'moving'")
        agent.tell(seq=3, state="ended", cause="deadline")
        assert (ended := next(told))["state"] == "ended"
        assert ended["cause"] == "deadline"
        assert next(told, None) is None


@pytest.mark.requirement("A5")
def test_who_may_not_watch_any_more_hears_that(agent: Agent) -> None:
    """The window goes on for others, who are not named to anybody."""
    agent.tell()
    with page(agent) as (_, told):
        next(told)
        agent.tell(seq=2, viewers=["100.64.0.9"])
        ended = next(told)
        assert (ended["state"], ended["cause"]) == ("ended", "capability-gone")
        assert "100.64.0.9" not in json.dumps(ended)
        assert next(told, None) is None


@pytest.mark.requirement("P2")
def test_the_agent_hears_who_has_a_page_open(agent: Agent) -> None:
    """When it opens and when it closes."""
    agent.tell()
    with page(agent):
        assert agent.hear() == {"watching": [VIEWER]}
    assert agent.hear() == {"watching": []}


@pytest.mark.requirement("N2")
def test_a_viewer_has_few_pages(agent: Agent) -> None:
    """A fifth one is refused, in a sentence."""
    agent.tell()
    with page(agent), page(agent), page(agent), page(agent):
        answer = get(agent, "events")
        assert (answer.status_code, answer.text) == (429, "too many pages are open: close one of them\n")


@pytest.mark.requirement("A5")
@pytest.mark.parametrize(
    ("camera", "kind", "name", "size", "status"),
    [
        ("cam1", "application/sdp", "made-up", 10, 403),
        ("cam1", "text/plain", None, 10, 415),
        ("cam1", "application/sdp", None, 40_000, 413),
        ("cam2", "application/sdp", None, 10, 404),
        ("..%2f..", "application/sdp", None, 10, 404),
        ("cam1", "application/sdp", None, 10, 502),
    ],
    ids=["another's page", "other type", "huge", "other camera", "path", "no server"],
)
def test_an_offer_that_is_not_right_is_refused(
    agent: Agent, camera: str, kind: str, name: str | None, size: int, status: int
) -> None:
    """Only an open page of the same viewer may offer, for a camera of the window, in a bounded body."""
    agent.tell()
    with page(agent) as (own, _):
        answer = httpx.post(
            f"{agent.url}whep/{camera}", content=b"v" * size, timeout=WAIT_S, trust_env=False,
            headers={"Content-Type": kind, "X-Sightglass-Page": name or own},
        )  # fmt: skip
    assert answer.status_code == status
    assert len(answer.text.splitlines()) == 1


@pytest.mark.requirement("N3")
def test_the_end_of_the_channel_ends_it(agent: Agent) -> None:
    """Exit code 0, and nobody listens any more."""
    agent.tell()
    agent.hang_up()
    assert agent.process.wait(WAIT_S) == 0
    with pytest.raises(httpx.ConnectError):
        get(agent)


@pytest.mark.requirement("F3")
@pytest.mark.parametrize("said", [{"seq": 0}, {**NEWS, "state": "half open"}, [], {**NEWS, "more": 1}])
def test_news_that_are_not_understood_end_it(agent: Agent, said: object) -> None:
    """Exit code 1, one sentence, and the window with it."""
    agent.say(said)
    _, errors = agent.process.communicate(timeout=WAIT_S)
    assert agent.process.returncode == 1
    assert errors.startswith("sightglass-console: ")
    assert len(errors.splitlines()) == 1


@pytest.mark.requirement("F3")
@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_a_refusal(line: bytes) -> None:
    """Whatever comes over the channel; and the refusal shows none of it, for a job carries a secret."""
    for parse in (parse_job, parse_news):
        try:
            parse(line)
        except NewsError as error:
            assert len(str(error).splitlines()) <= 1


def test_a_wrong_job_does_not_show_its_secret() -> None:
    """Named by field and rule alone."""
    with pytest.raises(NewsError, match=r"job\.secret") as refused:
        parse_job(json.dumps({"job": {**JOB, "secret": "short-secret"}}).encode())
    assert "short-secret" not in str(refused.value)
