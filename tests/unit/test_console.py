"""The console as its unit runs it: a process, the agent's channel, and pages that ask over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightglass.console.news import NewsError, parse_job, parse_news
from tests.unit.console_parts import JOB, NEWS, VIEWER, WAIT_S, Agent, browser, get, offer, page


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    """A console that has its job."""
    with closing(Agent(tmp_path)) as agent:
        yield agent


@pytest.mark.requirement("O3")
def test_a_viewer_gets_the_page_and_its_parts(agent: Agent) -> None:
    """With a policy that lets no other origin's script in; nothing of it is kept."""
    agent.tell()
    script = "text/javascript"
    for path, kind in (("", "text/html"), ("page.js", script), ("causes.js", script), ("page.css", "text/css")):
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
        agent.tell(seq=2, state="suspended", cause="lane", why="lane1 is 'moving'")
        suspended = next(told)
        assert (suspended["state"], suspended["cause"], suspended["why"]) == ("suspended", "lane", "lane1 is 'moving'")
        agent.tell(seq=3, state="ended", cause="deadline")
        assert (ended := next(told))["state"] == "ended"
        assert (ended["whole"], ended["cause"]) == (True, "deadline")
        assert next(told, None) is None


@pytest.mark.requirement("A5")
@pytest.mark.parametrize(
    ("gone", "cause"),
    [
        ({}, "capability-gone"),
        ({VIEWER: "node-expired"}, "node-expired"),
        ({"100.64.0.7": "peer-gone"}, "capability-gone"),
    ],
    ids=["no reason", "a reason", "another's reason"],
)
def test_who_may_not_watch_any_more_hears_that(agent: Agent, gone: dict[str, str], cause: str) -> None:
    """And why, when the agent says so. The window goes on for others, who are not named to anybody."""
    agent.tell()
    with page(agent) as (_, told):
        next(told)
        agent.tell(seq=2, viewers=["100.64.0.9"], gone=gone)
        ended = next(told)
        assert (ended["state"], ended["whole"], ended["cause"], ended["why"]) == ("ended", False, cause, None)
        assert "100.64" not in json.dumps(ended)
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
    with browser(agent) as client, page(agent), page(agent), page(agent), page(agent):
        answer = client.get("/events")
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
    ids=["no page", "other type", "huge", "other camera", "path", "no server"],
)
def test_an_offer_that_is_not_right_is_refused(
    agent: Agent, camera: str, kind: str, name: str | None, size: int, status: int
) -> None:
    """Only an open page of the same viewer may offer, for a camera of the window, in a bounded body."""
    agent.tell()
    with browser(agent) as client, page(agent) as (own, _):
        answer = offer(client, name or own, camera, b"v" * size, **{"Content-Type": kind})
    assert answer.status_code == status
    assert len(answer.text.splitlines()) == 1


@pytest.mark.requirement("A5")
def test_anothers_page_is_none(agent: Agent) -> None:
    """Two viewers with a page each: the id of the one is nothing in the hands of the other."""
    other = "127.0.0.2"
    agent.tell(viewers=[VIEWER, other])
    with page(agent) as (name, _), browser(agent, other) as client, page(agent, other) as (own, _):
        assert offer(client, name).status_code == 403
        assert offer(client, own).status_code == 502, "the control: with its own page it comes as far as the server"


@pytest.mark.requirement("A5")
def test_another_web_page_of_a_viewers_browser_is_refused(agent: Agent) -> None:
    """It asks from the viewer's address, but without the cookie, or in the name of another origin."""
    agent.tell()
    own = agent.url.rstrip("/")

    def asked(client: httpx.Client, method: str, path: str, headers: dict[str, str]) -> int:
        raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        with client.stream(method, path, headers=raw) as answer:
            if answer.status_code == 403 and "X-Sightglass-Page" in headers:
                assert answer.read() == b"only this window's own page may ask that: load it anew\n"
            return answer.status_code

    with browser(agent) as client, page(agent) as (name, _):
        offered = {"X-Sightglass-Page": name}
        # The control for an offer is the next refusal, which is for its type.
        for headers in ({}, {"Sec-Fetch-Site": "same-origin", "Origin": own}, {"Sec-Fetch-Site": "none"}):
            assert asked(client, "GET", "/events", headers) == 200
            assert asked(client, "POST", "/whep/cam1", offered | headers) == 415
        for headers in (
            {"Cookie": ""},
            {"Cookie": "sightglass=made-up"},
            {"Cookie": "sightglass=\xe9"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {"Origin": "http://evil.example"},
            {"Origin": "http://127.0.0.1:1880"},
            {"Origin": "null"},
        ):
            assert asked(client, "GET", "/events", headers) == 403, headers
            assert asked(client, "POST", "/whep/cam1", offered | headers) == 403, headers


@pytest.mark.requirement("A5")
def test_the_cookie_is_new_for_each_window(tmp_path: Path) -> None:
    """And of the kind that scripts do not read and other sites' pages do not send; it ends with the browser."""
    cookies = []
    for number in range(2):
        (place := tmp_path / str(number)).mkdir()
        with closing(Agent(place)) as agent:
            agent.tell()
            value, *rest = get(agent).headers["Set-Cookie"].split("; ")
            assert rest == ["Path=/", "HttpOnly", "SameSite=Strict"]
            cookies.append(value)
            assert "Set-Cookie" not in get(agent, "page.js").headers
    assert cookies[0] != cookies[1]


@pytest.mark.requirement("N3")
def test_the_end_of_the_channel_ends_it(agent: Agent) -> None:
    """Exit code 0, and nobody listens any more."""
    agent.tell()
    agent.hang_up()
    assert agent.process.wait(WAIT_S) == 0
    with pytest.raises(httpx.ConnectError):
        get(agent)


@pytest.mark.requirement("F3")
@pytest.mark.parametrize(
    "said",
    [{"seq": 0}, {**NEWS, "state": "half open"}, [], {**NEWS, "more": 1}, {**NEWS, "gone": {VIEWER: "anything"}}],
)
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
