#!/usr/bin/python3
"""Opens, closes and shows a gateway's maintenance window; speaks to the agent's socket with nothing but Python."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: sightglass_window
short_description: Open, close, disable or show maintenance windows on a gateway
description:
  - Asks the gateway's agent over its unix socket. The agent alone decides, and keeps the record.
  - A refusal fails with one line, the word refused, the rule's name and a sentence; nothing was changed then.
  - Runs with the gateway's own Python and nothing else.
options:
  state:
    description:
      - C(open) opens a window, C(closed) closes whatever is open, C(status) only looks.
      - C(disabled) closes whatever is open and refuses windows until C(enabled), also after a reboot.
    type: str
    choices: [open, closed, disabled, enabled, status]
    default: status
  request_id:
    description:
      - Made by the caller, 8 to 64 characters of letters, digits, dot, hyphen and underscore. Required to open.
      - Repeating it changes nothing, so an answer that was lost may be asked for again.
    type: str
  cameras:
    description: Configured names, 1 to 4 of them. Required to open.
    type: list
    elements: str
  reason:
    description: Why, in 5 to 200 printable characters. Required but to close and to look; kept in the record.
    type: str
  minutes:
    description: How long. Without it the site's default.
    type: int
  purpose:
    description: What the lane must be for it. C(debug) also allows an occupied lane.
    type: str
    choices: [alignment, debug]
    default: alignment
  viewers:
    description: Login names; only these entitled viewers are let through. Without it every entitled one.
    type: list
    elements: str
    default: []
  claimed_name:
    description:
      - Who asks, as the caller says, in 1 to 100 printable characters. Recorded as claimed, beside what the kernel
        says of the account, for every state but C(status).
    type: str
  fleet:
    description:
      - With C(disabled) and C(enabled), that every gateway is told so. That has a mark of its own, which C(enabled)
        without it leaves alone, and a name of its own in the record and on the page.
    type: bool
    default: false
  window:
    description: To close only this window, by its id.
    type: str
  known:
    description:
      - The event of the chain of receipts that the caller has seen last, with the chain's first one. The module says
        whether they are still in it. An opening is refused where they are not.
      - The action plugin of the same name fills it in from the controller's ledger.
    type: dict
    suboptions:
      n:
        description: The event's number.
        type: int
        required: true
      hash:
        description: Its hash.
        type: str
        required: true
      first:
        description: The hash of the chain's first event.
        type: str
        required: true
  site:
    description:
      - The name by which the gateway must go. One that goes by another is asked for nothing but to disable windows, and
        that fails, too.
      - The action plugin of the same name fills it in from the inventory.
    type: str
  socket:
    description: The agent's socket.
    type: path
    default: /run/sightglass-agent.sock
  timeout:
    description: Seconds to wait for one answer of the agent.
    type: int
    default: 45
attributes:
  check_mode:
    description: To open, asks the agent's guards and fails as the opening would, but for the site's ceiling of minutes.
    support: full
  diff_mode:
    description: Shows the window's state before and after.
    support: full
author:
  - Sightglass maintainers (@sightglass)
"""

EXAMPLES = r"""
- name: Open a window of a quarter of an hour
  sightglass_window:
    state: open
    request_id: ops-20261123-0001
    cameras: [cam1]
    minutes: 15
    reason: Plates unread since Monday

- name: Look whether a window could be opened now
  sightglass_window:
    state: open
    request_id: ops-20261123-0002
    cameras: [cam1]
    reason: Plates unread since Monday
  check_mode: true

- name: Close it
  sightglass_window:
    state: closed
    reason: The camera is straight again

- name: Refuse windows from now on
  sightglass_window:
    state: disabled
    reason: The road is dug up
"""

RETURN = r"""
state:
  description: The gateway's state, C(closed), C(opening), C(open), C(suspended), C(closing) or C(disabled).
  returned: success
  type: str
  sample: open
window:
  description: >-
    The window: the one that is open, else the newest closed one, else null (as in check mode of an opening). Times are
    ISO 8601 in UTC, C(site_deadline) in the site's own time. C(opened_by) is who opened it, with C(said) in words.
  returned: success
  type: dict
  sample: {id: w-0123456789ab, urls: {cam1: "rtsp://100.64.0.1:8554/cam1"}, deadline: "2026-11-23T05:30:00+00:00"}
status:
  description: What the agent says about the gateway.
  returned: when state is C(status)
  type: dict
disabled:
  description: The marks that keep windows from opening after this, with C(cause), C(at), C(user) and C(reason).
  returned: when state is C(disabled) or C(enabled)
  type: list
  elements: dict
guards:
  description: What every guard says now.
  returned: in check mode, when a window would be opened
  type: list
  elements: dict
chain:
  description: The newest event of the chain of receipts after this, and the hash of its first one.
  returned: when the account may read receipts
  type: dict
  sample: {n: 7, hash: 0123…, first: 4567…}
record:
  description: >-
    C(same) when the known event is still in the chain, C(new) when none is known; C(shortened), C(rewritten) or
    C(restarted) when it is not.
  returned: when the account may read receipts
  type: str
refused:
  description: The rule's name.
  returned: when the agent refuses
  type: str
  sample: guard-lane
"""

import contextlib  # noqa: E402 - Ansible wants the documentation first
import http.client  # noqa: E402
import json  # noqa: E402
import socket  # noqa: E402
import threading  # noqa: E402
from collections.abc import Mapping  # noqa: E402
from typing import Any  # noqa: E402
from urllib.parse import urlencode  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402

ARGUMENTS: dict[str, dict[str, Any]] = {
    "state": {"type": "str", "choices": ["open", "closed", "disabled", "enabled", "status"], "default": "status"},
    "request_id": {"type": "str"},
    "cameras": {"type": "list", "elements": "str"},
    "reason": {"type": "str"},
    "minutes": {"type": "int"},
    "purpose": {"type": "str", "choices": ["alignment", "debug"], "default": "alignment"},
    "viewers": {"type": "list", "elements": "str", "default": []},
    "claimed_name": {"type": "str"},
    "fleet": {"type": "bool", "default": False},
    "window": {"type": "str"},
    "known": {
        "type": "dict",
        "options": {
            "n": {"type": "int", "required": True},
            "hash": {"type": "str", "required": True},
            "first": {"type": "str", "required": True},
        },
    },
    "site": {"type": "str"},
    "socket": {"type": "path", "default": "/run/sightglass-agent.sock"},
    "timeout": {"type": "int", "default": 45},
}
_MAX_ANSWER = 1 << 20


class Refused(Exception):  # noqa: N818 - the project's word for it
    """The agent said no, or nothing; `code` is the rule's name."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"refused ({code}): {' '.join(message.split())}")
        self.code = code


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("agent", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
        self.own = self.sock

    def cut(self) -> None:
        """End whatever is waited for; http.client itself bounds only each piece of an answer."""
        with contextlib.suppress(AttributeError, OSError):
            self.own.shutdown(socket.SHUT_RDWR)


class Agent:
    """The agent's interface at one unix socket; `timeout` in seconds bounds each answer."""

    def __init__(self, path: str, timeout: float) -> None:
        self.path, self._timeout = path, timeout
        self.chain: dict[str, Any] | None = None
        self.record: dict[str, Any] = {}

    def ask(self, method: str, route: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """One request. Raises Refused with the agent's rule, or `no-agent` when it gives no answer."""
        connection = _Connection(self.path, self._timeout)
        timer = threading.Timer(self._timeout, connection.cut)
        timer.daemon = True
        timer.start()
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, route, text, {"Content-Type": "application/json"} if text else {})
            answer = connection.getresponse()
            found = json.loads(_whole(answer))
        except PermissionError:
            raise Refused("not-an-operator", f"this account may not use {self.path}") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            why = (str(error) or type(error).__name__) if timer.is_alive() else "timed out"
            raise Refused("no-agent", f"{self.path} gives no answer: {why}") from None
        finally:
            timer.cancel()
            connection.close()
        if not isinstance(found, dict):
            raise Refused("no-agent", f"{self.path} gives an answer that is no object")
        self.chain = found.get("chain", self.chain)
        if answer.status != 200:
            raise Refused(str(found.get("code", answer.status)), str(found.get("message", "no reason was given")))
        return found


def _whole(answer: http.client.HTTPResponse) -> bytes:
    text = answer.read(_MAX_ANSWER + 1)
    if len(text) > _MAX_ANSWER:
        raise ValueError(f"it is longer than {_MAX_ANSWER} bytes")
    if answer.length:
        raise ValueError("it is cut off")
    return text


def record(agent: Agent, known: Mapping[str, Any] | None) -> tuple[str, str]:
    """What became of the chain since `known`, and the hash of its first event. Raises Refused."""
    first = _event(agent, 1) or ""
    if known is None or known["n"] == 0:
        return "new", first
    if first != known["first"]:
        return "restarted", first
    then = _event(agent, known["n"])
    return "shortened" if then is None else "same" if then == known["hash"] else "rewritten", first


def _event(agent: Agent, number: int) -> str | None:
    found = agent.ask("GET", f"/v1/receipts?after={number - 1}&limit=1")["events"]
    return str(found[0]["hash"]) if found and found[0]["n"] == number else None


def run(agent: Agent, wanted: Mapping[str, Any], *, check: bool) -> dict[str, Any]:
    """The module's result, as RETURN describes it. `wanted` are the options by name. Raises Refused."""
    try:
        return _run(agent, wanted, check=check)
    except (KeyError, TypeError, AttributeError) as error:
        raise Refused("no-agent", f"{agent.path} speaks another language: {error!r}") from None


def _run(agent: Agent, wanted: Mapping[str, Any], *, check: bool) -> dict[str, Any]:
    before = agent.ask("GET", "/v1/status")
    other = wanted["site"] not in (None, before["site"])
    if other and wanted["state"] != "disabled":
        raise Refused("other-site", _other(wanted["site"], before["site"]))
    try:
        standing, first = record(agent, wanted["known"])
    except Refused as refused:
        # An account that may only look at the state learns nothing of the record, and says nothing of it.
        if refused.code != "not-an-operator":
            raise
    else:
        agent.record = {"record": standing, "first": first}
        if standing not in ("new", "same") and wanted["state"] == "open":
            n = wanted["known"]["n"]
            raise Refused(f"record-{standing}", f"event {n} of its record, which the controller has seen, is not in it")
    found = {**_asked(agent, wanted, before, check=check), **remembered(agent)}
    if other:
        # Off is off, whoever it is; only that the right one is off is not known.
        raise Refused("other-site", f"{_other(wanted['site'], before['site'])}; {before['site']} is {found['state']}")
    return found


def _other(meant: str, found: str) -> str:
    return f"site: the gateway goes by {found!r} and not by {meant!r}, compare ansible_host and sightglass_agent_site"


def remembered(agent: Agent) -> dict[str, Any]:
    """What a caller may keep of the record, after whatever was asked, also when that was refused."""
    if not agent.record or agent.chain is None:
        return {}
    chain = {"n": agent.chain["n"], "hash": agent.chain["hash"], "first": agent.record["first"]}
    return {"record": agent.record["record"], "chain": chain}


def _asked(agent: Agent, wanted: Mapping[str, Any], before: Mapping[str, Any], *, check: bool) -> dict[str, Any]:
    if wanted["state"] == "open":
        return _open(agent, wanted, before, check=check)
    if wanted["state"] == "closed":
        return _close(agent, wanted, before, check=check)
    if wanted["state"] in ("disabled", "enabled"):
        return _switch(agent, wanted, before, check=check)
    return {"changed": False, "state": before["state"], "window": _window(before), "status": before}


def _open(agent: Agent, wanted: Mapping[str, Any], before: Mapping[str, Any], *, check: bool) -> dict[str, Any]:
    current = before["window"]
    known = current is not None and current["request_id"] == wanted["request_id"]
    if check and not known:
        if before["state"] == "disabled":
            raise Refused("disabled", "windows are disabled on this gateway: `sightglass status` says by whom and why")
        if current is not None:
            raise Refused("second-window", _held(before["state"], current))
        query = urlencode([*(("camera", name) for name in wanted["cameras"]), ("purpose", wanted["purpose"])])
        guards = agent.ask("GET", f"/v1/guards?{query}")["guards"]
        for guard in guards:
            if guard["outcome"] != "pass":
                raise Refused(f"guard-{guard['name']}", guard["why"])
        return {**_result(before, "open", None, True), "guards": guards}
    if check:
        return _result(before, before["state"], current, False)
    names = ("request_id", "cameras", "minutes", "reason", "purpose", "viewers", "claimed_name")
    window = agent.ask("POST", "/v1/windows", {name: wanted[name] for name in names})
    if window["state"] == "closed":
        # The agent answers a known request id with its window, whatever became of it.
        cause = window.get("cause") or "closed"
        raise Refused(
            "ended", f"request_id: the window of {wanted['request_id']!r} has ended ({cause}), make a new one"
        )
    return _result(before, window["state"], window, not known)


def _close(agent: Agent, wanted: Mapping[str, Any], before: Mapping[str, Any], *, check: bool) -> dict[str, Any]:
    current, only = before["window"], wanted["window"]
    if current is None and only is None:
        return _result(before, before["state"], _window(before), False)
    if check:
        if only is not None and (_window(before) or {}).get("id") != only:
            raise Refused("unknown-window", f"window: {only!r} is not open here")
        return _result(before, "closed", _window(before), current is not None)
    window = agent.ask("POST", "/v1/windows/close", {"window": only, **_why(wanted)})
    return _result(before, window["state"], window, current is not None)


def _switch(agent: Agent, wanted: Mapping[str, Any], before: Mapping[str, Any], *, check: bool) -> dict[str, Any]:
    off, cause = wanted["state"] == "disabled", "fleet-off" if wanted["fleet"] else "disabled"
    others = [mark for mark in before["disabled"] if mark["cause"] != cause]
    marked = len(others) < len(before["disabled"])
    if marked == off and (before["state"] == "disabled" or not off):
        return _switched(wanted, before, before, False)
    if check:
        after = {**before, "state": "disabled" if off or others else "closed", "disabled": others}
        return _switched(wanted, before, after, True)
    body = {"fleet": wanted["fleet"], **_why(wanted)}
    return _switched(wanted, before, agent.ask("POST", "/v1/disable" if off else "/v1/enable", body), True)


def _why(wanted: Mapping[str, Any]) -> dict[str, Any]:
    return {"reason": wanted["reason"], "claimed_name": wanted["claimed_name"]}


def _held(state: str, window: Mapping[str, Any]) -> str:
    by = f", opened by {window['opened_by']['said']}" if window.get("opened_by") else ""
    until = f"until {window['deadline']} (at the site {window['site_deadline']})"
    return f"a window is {state} already: {window['id']}{by}, {until}"


def _switched(
    wanted: Mapping[str, Any], before: Mapping[str, Any], after: Mapping[str, Any], changed: bool
) -> dict[str, Any]:
    found = {**_result(before, after["state"], _window(after), changed), "disabled": after["disabled"]}
    if wanted["state"] == "disabled":
        if after["state"] != "disabled":
            raise Refused(f"still-{after['state']}", f"windows are not disabled: the gateway is {after['state']}")
    elif after["disabled"] and not wanted["fleet"]:
        mark = after["disabled"][0]
        raise Refused(f"still-{mark['cause']}", f"windows are not enabled: {mark.get('reason', 'nobody can say why')}")
    return found


def _window(status: Mapping[str, Any]) -> dict[str, Any] | None:
    found: dict[str, Any] | None = status["window"] or status["last"]
    return found


def _result(before: Mapping[str, Any], state: str, window: Mapping[str, Any] | None, changed: bool) -> dict[str, Any]:
    shown = {"before": _shown(before["state"], before["window"]), "after": _shown(state, window if changed else None)}
    return {"changed": changed, "state": state, "window": window, "diff": shown if changed else {}}


def _shown(state: str, window: Mapping[str, Any] | None) -> dict[str, Any]:
    if window is None or state in ("closed", "disabled"):
        return {"state": state}
    return {"state": state, **{name: window.get(name) for name in ("id", "cameras", "purpose", "deadline")}}


def main() -> None:
    """What Ansible runs."""
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        required_if=[
            ("state", "open", ("request_id", "cameras", "reason")),
            ("state", "disabled", ("reason",)),
            ("state", "enabled", ("reason",)),
        ],
        supports_check_mode=True,
    )
    agent = Agent(module.params["socket"], module.params["timeout"])
    try:
        result = run(agent, module.params, check=module.check_mode)
    except Refused as refused:
        module.fail_json(msg=str(refused), refused=refused.code, **remembered(agent))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
