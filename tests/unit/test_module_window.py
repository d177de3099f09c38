"""The module sightglass_window against a socket that answers as the agent does."""

from __future__ import annotations

import http.server
import json
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.plugins import loaded

CHAIN = {"n": 7, "hash": "ab" * 32}
WINDOW = {
    "id": "w-0123456789ab", "request_id": "request-1", "state": "open", "purpose": "alignment", "cameras": ["cam1"],
    "minutes": 30, "opened_at": "2026-11-23T05:00:00+00:00", "deadline": "2026-11-23T05:30:00+00:00",
    "site_deadline": "2026-11-23T06:30:00+01:00", "remaining_s": 1800.0, "urls": {"cam1": "rtsp://100.64.0.1:8554/cam1"},
    "viewers": [], "cause": None, "why": None,
}  # fmt: skip
ENDED = {**WINDOW, "state": "closed", "cause": "closed", "urls": {}}
WANTED = {
    "state": "open", "request_id": "request-1", "cameras": ["cam1"], "reason": "the test asks", "minutes": None,
    "purpose": "alignment", "viewers": [], "claimed_name": None, "window": None, "known": None, "fleet": False,
    "site": None,
}  # fmt: skip


module = loaded("library/sightglass_window.py")


class Server(socketserver.ThreadingUnixStreamServer):
    """Says nothing about a client that went away in the middle of an answer."""

    def handle_error(self, request: object, client_address: object) -> None:
        pass


class FakeAgent:
    """Answers from a table of routes and remembers what was asked."""

    def __init__(self, path: Path) -> None:
        self.asked: list[tuple[str, str, dict[str, Any] | None]] = []
        self.routes: dict[tuple[str, str], tuple[int, Any]] = {}
        self.path = str(path)
        agent = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def address_string(self) -> str:
                return "unix"

            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                self._answer(None)

            def do_POST(self) -> None:
                self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def _answer(self, body: dict[str, Any] | None) -> None:
                agent.asked.append((self.command, self.path, body))
                code, fields = agent.routes.get(
                    (self.command, self.path), (404, {"code": "none", "message": self.path})
                )
                raw = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
                self.send_response(code)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

        self.server = Server(self.path, Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def status(
        self,
        state: str,
        window: dict[str, Any] | None = None,
        last: dict[str, Any] | None = None,
        disabled: tuple[dict[str, Any], ...] = (),
    ) -> None:
        """What GET /v1/status answers."""
        fields = {
            "site": "gw1", "state": state, "window": window, "last": last, "disabled": disabled, "version": "0.1.0"
        }  # fmt: skip
        self.routes["GET", "/v1/status"] = (200, {**fields, "chain": CHAIN})

    def chain(self, hashes: list[str]) -> None:
        """The events of its record, from the first; each as the agent answers it."""
        for number in range(1, 30):
            found = [{"n": number, "hash": hashes[number - 1]}] if number <= len(hashes) else []
            self.routes["GET", f"/v1/receipts?after={number - 1}&limit=1"] = (200, {"events": found, "chain": CHAIN})

    def run(self, *, check: bool = False, **options: Any) -> dict[str, Any]:
        """The module's result."""
        found: dict[str, Any] = module.run(module.Agent(self.path, 5), {**WANTED, **options}, check=check)
        return found


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[FakeAgent]:
    """A socket with a closed gateway behind it."""
    found = FakeAgent(tmp_path / "agent.sock")
    found.status("closed")
    found.chain([f"{number:02}" * 32 for number in range(1, 7)] + [str(CHAIN["hash"])])
    yield found
    found.server.shutdown()
    found.server.server_close()


@pytest.mark.requirement("U1")
def test_opens(agent: FakeAgent) -> None:
    """An opening is a change, with the window before and after as its diff."""
    agent.routes["POST", "/v1/windows"] = (200, {**WINDOW, "chain": CHAIN})
    result = agent.run()
    assert (result["changed"], result["state"], result["window"]["id"]) == (True, "open", WINDOW["id"])
    assert result["diff"]["before"] == {"state": "closed"}
    assert result["diff"]["after"]["deadline"] == WINDOW["deadline"]
    names = {"request_id", "cameras", "minutes", "reason", "purpose", "viewers", "claimed_name"}
    assert agent.asked[-1][2] == {name: WANTED[name] for name in names}


@pytest.mark.requirement("U1")
def test_repeating_a_request_id_is_no_change(agent: FakeAgent) -> None:
    """The same request while its window is open changes nothing and gives the same window."""
    agent.status("open", WINDOW)
    agent.routes["POST", "/v1/windows"] = (200, {**WINDOW, "chain": CHAIN})
    result = agent.run()
    assert (result["changed"], result["diff"], result["window"]["id"]) == (False, {}, WINDOW["id"])


@pytest.mark.requirement("U1")
def test_a_request_whose_window_has_ended_fails(agent: FakeAgent) -> None:
    """Success would say that a window is open."""
    agent.routes["POST", "/v1/windows"] = (200, {**ENDED, "chain": CHAIN})
    with pytest.raises(module.Refused, match=r"^refused \(ended\): request_id: .*request-1.* has ended \(closed\)"):
        agent.run()


@pytest.mark.requirement("U1")
@pytest.mark.requirement("O2")
def test_a_refusal_is_one_line_with_its_rule(agent: FakeAgent) -> None:
    """The agent's rule and sentence, on one line whatever the sentence holds."""
    body = {"code": "guard-lane", "message": "lane1 is 'moving',\nsafe is idle", "chain": CHAIN}
    agent.routes["POST", "/v1/windows"] = (409, body)
    with pytest.raises(module.Refused) as refused:
        agent.run()
    assert str(refused.value) == "refused (guard-lane): lane1 is 'moving', safe is idle"
    assert refused.value.code == "guard-lane"


@pytest.mark.requirement("U1")
def test_check_mode_asks_the_guards_and_nothing_more(agent: FakeAgent) -> None:
    """What would happen is said by the guards; nothing is posted."""
    route = ("GET", "/v1/guards?camera=cam1&purpose=alignment")
    guard = {"name": "lane", "outcome": "pass", "code": "", "why": "lane1 is 'idle'"}
    agent.routes[route] = (200, {"guards": [guard], "chain": CHAIN})
    assert agent.run(check=True)["changed"] is True
    agent.routes[route] = (200, {"guards": [{**guard, "outcome": "unknown", "why": "no heartbeat"}], "chain": CHAIN})
    with pytest.raises(module.Refused, match=r"^refused \(guard-lane\): no heartbeat$"):
        agent.run(check=True)
    assert {method for method, _, _ in agent.asked} == {"GET"}


@pytest.mark.requirement("U1")
def test_check_mode_knows_what_stands_in_the_way(agent: FakeAgent) -> None:
    """A window that is open, or a disabled gateway, is said before any guard."""
    agent.status("open", {**WINDOW, "request_id": "another-1"})
    with pytest.raises(module.Refused, match=r"^refused \(second-window\)"):
        agent.run(check=True)
    agent.status("disabled")
    with pytest.raises(module.Refused, match=r"^refused \(disabled\)"):
        agent.run(check=True)


@pytest.mark.requirement("U1")
@pytest.mark.requirement("O5")
def test_closes_once(agent: FakeAgent) -> None:
    """Closing what is open is a change; closing what is closed is none and asks for nothing."""
    agent.routes["POST", "/v1/windows/close"] = (200, {**ENDED, "chain": CHAIN})
    agent.status("open", WINDOW)
    assert agent.run(state="closed", check=True)["changed"] is True
    assert agent.asked[-1][0] == "GET"
    result = agent.run(state="closed", reason="it is done")
    assert (result["changed"], result["state"], result["window"]["cause"]) == (True, "closed", "closed")
    agent.status("closed", None, ENDED)
    again = agent.run(state="closed")
    assert (again["changed"], again["window"]["id"]) == (False, WINDOW["id"])
    assert agent.asked[-1][0] == "GET"


@pytest.mark.requirement("U1")
def test_shows_the_status(agent: FakeAgent) -> None:
    """Looking changes nothing; the newest window stands in for one that is open."""
    agent.status("closed", None, ENDED)
    result = agent.run(state="status")
    assert (result["changed"], result["state"], result["window"]["id"]) == (False, "closed", WINDOW["id"])
    assert result["status"]["chain"] == CHAIN


@pytest.mark.requirement("U1")
@pytest.mark.parametrize("answer", [b"", b"<html>", b"[]"])
def test_nonsense_is_no_answer(agent: FakeAgent, answer: bytes) -> None:
    """An answer that is no JSON object is refused as none."""
    agent.routes["GET", "/v1/status"] = (200, answer)
    with pytest.raises(module.Refused, match=r"^refused \(no-agent\): "):
        agent.run()


@pytest.mark.requirement("U1")
def test_no_agent_is_one_sentence(tmp_path: Path) -> None:
    """A socket that is not there, or that nobody serves, is said with its path."""
    with pytest.raises(module.Refused, match=r"^refused \(no-agent\): .*absent\.sock gives no answer"):
        module.run(module.Agent(str(tmp_path / "absent.sock"), 1), WANTED, check=False)


def _shapes(documented: dict[str, Any]) -> dict[str, Any]:
    kept = ("type", "choices", "default", "elements", "required")
    return {
        name: {key: option[key] for key in kept if key in option}
        | ({"options": _shapes(option["suboptions"])} if "suboptions" in option else {})
        for name, option in documented.items()
    }


@pytest.mark.requirement("U1")
def test_documentation_and_arguments_agree() -> None:
    """What `ansible-doc` shows is what the module takes."""
    documented = yaml.safe_load(module.DOCUMENTATION)["options"]
    assert _shapes(documented) == module.ARGUMENTS
    assert all(isinstance(line, str) for line in yaml.safe_load(module.DOCUMENTATION)["description"])
    assert {play["sightglass_window"]["state"] for play in yaml.safe_load(module.EXAMPLES)} == {
        "open",
        "closed",
        "disabled",
    }


HASHES = [f"{number:02}" * 32 for number in range(1, 7)] + [str(CHAIN["hash"])]
KNOWN = {"n": 5, "hash": HASHES[4], "first": HASHES[0]}
OTHER = "ff" * 32


@pytest.mark.requirement("U5")
def test_the_record_goes_on_from_what_was_seen(agent: FakeAgent) -> None:
    """The event that was seen is still there; what is to be kept comes with the answer, also with a refusal's."""
    assert agent.run(state="status")["record"] == "new"
    result = agent.run(state="status", known=KNOWN)
    assert (result["record"], result["chain"]) == ("same", {**CHAIN, "first": HASHES[0]})


@pytest.mark.requirement("U5")
@pytest.mark.parametrize(
    ("hashes", "name"),
    [
        (HASHES[:4], "shortened"),
        ([*HASHES[:4], OTHER, *HASHES[5:]], "rewritten"),
        ([OTHER, *HASHES[1:]], "restarted"),
        ([], "restarted"),
    ],
)
def test_a_record_that_does_not_go_on_is_named(agent: FakeAgent, hashes: list[str], name: str) -> None:
    """Nothing is opened on it; closing works, and says so. Without the knowledge (the control) it opens."""
    agent.chain(hashes)
    agent.routes["POST", "/v1/windows"] = (200, {**WINDOW, "chain": CHAIN})
    agent.routes["POST", "/v1/windows/close"] = (200, {**ENDED, "chain": CHAIN})
    with pytest.raises(module.Refused, match=rf"refused \(record-{name}\): event 5 of its record"):
        agent.run(known=KNOWN)
    assert not [asked for asked in agent.asked if asked[0] == "POST"], "and nothing was changed"
    agent.status("open", WINDOW)
    result = agent.run(state="closed", known=KNOWN)
    assert (result["record"], result["state"]) == (name, "closed")
    agent.status("closed")
    assert agent.run()["state"] == "open"


@pytest.mark.requirement("U5")
def test_an_account_that_may_only_look_learns_nothing_of_the_record(agent: FakeAgent) -> None:
    """Not assessed is not held: the answer has no word about it."""
    agent.routes["GET", "/v1/receipts?after=0&limit=1"] = (403, {"code": "not-an-operator", "message": "no"})
    result = agent.run(state="status", known=KNOWN)
    assert "record" not in result
    assert "chain" not in result


MARK = {"cause": "disabled", "at": "2026-11-23T05:00:00+00:00", "user": "ann", "reason": "works on the road"}
FLEET = {**MARK, "cause": "fleet-off", "reason": "works at all sites"}
SWITCH = {"cause": "switch", "reason": "the switch /etc/sightglass/off is set"}


def switched(agent: FakeAgent, route: str, state: str, *disabled: dict[str, Any]) -> None:
    """What the agent says when it is told to disable or enable."""
    fields = {"site": "gw1", "state": state, "window": None, "last": None, "disabled": disabled, "version": "0.1.0"}
    agent.routes["POST", route] = (200, {**fields, "chain": CHAIN})


@pytest.mark.requirement("U2")
def test_disables_once(agent: FakeAgent) -> None:
    """A change the first time, with the reason and whether the whole fleet is told; then none. Check mode asks only."""
    switched(agent, "/v1/disable", "disabled", MARK)
    agent.status("open", WINDOW)
    assert agent.run(state="disabled", check=True)["changed"] is True
    assert agent.asked[-1][0] == "GET"
    result = agent.run(state="disabled", reason="works on the road")
    assert (result["changed"], result["state"], result["disabled"]) == (True, "disabled", [MARK])
    assert agent.asked[-1][2] == {"reason": "works on the road", "fleet": False, "claimed_name": None}
    agent.status("disabled", disabled=(MARK,))
    assert agent.run(state="disabled")["changed"] is False
    assert agent.asked[-1][0] == "GET"
    switched(agent, "/v1/disable", "disabled", FLEET, MARK)
    assert agent.run(state="disabled", fleet=True)["disabled"] == [FLEET, MARK], "the fleet's mark is another one"
    assert agent.asked[-1][2] == {"reason": "the test asks", "fleet": True, "claimed_name": None}


@pytest.mark.requirement("U1")
@pytest.mark.requirement("U2")
def test_a_gateway_that_goes_by_another_name_is_not_the_one(agent: FakeAgent) -> None:
    """An address that stands twice in an inventory opens no window elsewhere and confirms nobody; only off is off."""
    agent.routes["POST", "/v1/windows"] = (200, {**WINDOW, "chain": CHAIN})
    for state in ("open", "closed", "enabled", "status"):
        with pytest.raises(
            module.Refused, match=r"refused \(other-site\): site: the gateway goes by 'gw1' and not by 'gw2'"
        ):
            agent.run(state=state, site="gw2")
    assert {method for method, _, _ in agent.asked} == {"GET"}
    assert agent.run(site="gw1")["state"] == "open", "the control"
    switched(agent, "/v1/disable", "disabled", MARK)
    with pytest.raises(module.Refused, match=r"other-site\): .*; gw1 is disabled$"):
        agent.run(state="disabled", site="gw2")
    assert agent.asked[-1][:2] == ("POST", "/v1/disable")


@pytest.mark.requirement("U2")
def test_the_fleet_enables_what_the_fleet_disabled(agent: FakeAgent) -> None:
    """A site's own mark stays, and is told; who enables one site is told that the fleet's keeps it off."""
    agent.status("disabled", disabled=(FLEET, MARK))
    switched(agent, "/v1/enable", "disabled", MARK)
    checked = agent.run(state="enabled", fleet=True, check=True)
    assert (checked["changed"], checked["disabled"]) == (True, [MARK])
    result = agent.run(state="enabled", fleet=True)
    assert (result["changed"], result["state"], result["disabled"]) == (True, "disabled", [MARK])
    agent.status("disabled", disabled=(MARK,))
    assert agent.run(state="enabled", fleet=True)["changed"] is False
    agent.status("disabled", disabled=(FLEET,))
    with pytest.raises(module.Refused, match=r"still-fleet-off\): windows are not enabled: works at all sites"):
        agent.run(state="enabled")


@pytest.mark.requirement("U2")
def test_the_switch_at_the_gateway_is_no_mark(agent: FakeAgent) -> None:
    """Off by the switch alone: disabling keeps a mark beside it, enabling fails and says why."""
    agent.status("disabled", disabled=(SWITCH,))
    switched(agent, "/v1/disable", "disabled", MARK)
    assert agent.run(state="disabled")["changed"] is True
    agent.status("disabled", disabled=(MARK, SWITCH))
    switched(agent, "/v1/enable", "disabled", SWITCH)
    with pytest.raises(module.Refused, match=r"still-switch\): windows are not enabled: the switch .* is set"):
        agent.run(state="enabled")


@pytest.mark.requirement("U2")
def test_enables_once(agent: FakeAgent) -> None:
    """A change when it was disabled, and none when it was not, also while a window is open."""
    agent.status("disabled", disabled=(MARK,))
    switched(agent, "/v1/enable", "closed")
    assert agent.run(state="enabled")["changed"] is True
    for state, window in (("closed", None), ("open", WINDOW)):
        agent.status(state, window)
        assert agent.run(state="enabled")["changed"] is False
