"""`sightglass`: what a person on the gateway types. Standard library only, so that it answers at once.

Exit codes: 0 done, 1 a check found a problem or the answer could not be written, 2 wrong usage, 3 refused (one line:
the rule and a sentence), 4 no agent, an agent that failed, or no answer that makes sense, 130 interrupted.
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import os
import secrets
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

SOCKET = "/run/sightglass-agent.sock"
ANSWER_S = 40


class Ended(Exception):  # noqa: N818 - no error of this program
    """The verb cannot go on: the exit code and one line for stderr."""

    def __init__(self, code: int, line: str) -> None:
        super().__init__(line)
        self.code = code


class _Unix(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("agent", timeout=ANSWER_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def main(argv: list[str] | None = None) -> int:
    """Run one verb."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that cannot show a name must not turn a window that opened into an error.
            stream.reconfigure(errors="backslashreplace")
    arguments = _parser().parse_args(argv)
    verb: Callable[[argparse.Namespace], int] = arguments.verb
    try:
        return verb(arguments)
    except Ended as ended:
        sys.stderr.write(f"{_plain(str(ended))}\n")
        return ended.code
    except KeyboardInterrupt:
        return 130
    except (KeyError, TypeError, AttributeError) as error:
        sys.stderr.write(f"the agent at {arguments.socket} speaks another language: {_plain(repr(error))}\n")
        return 4
    except (OSError, http.client.HTTPException, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        sys.stderr.write(f"no answer from the agent at {arguments.socket}: {_plain(why)}\n")
        return 4


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sightglass", description="Maintenance windows of this gateway.")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="the agent's answer as it is")
    common.add_argument("--socket", default=SOCKET, metavar="PATH", help="of the agent")
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    def add(name: str, method: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        made = verbs.add_parser(name, parents=[common], help=text)
        made.set_defaults(verb=method)
        return made

    add("status", _status, "what is open, and what was last")
    opening = add("open", _open, "open a window")
    opening.add_argument("--camera", action="append", required=True, dest="cameras", metavar="NAME")
    opening.add_argument("--minutes", type=int, metavar="N", help="default: the site's")
    opening.add_argument("--reason", required=True, help="5 to 200 characters")
    opening.add_argument("--purpose", choices=("alignment", "debug"), default="alignment")
    opening.add_argument("--viewer", action="append", default=[], dest="viewers", metavar="LOGIN")
    opening.add_argument("--request-id", metavar="ID", help="the same id again changes nothing")
    opening.add_argument("--claimed-name", metavar="NAME", help="recorded as claimed")
    closing = add("close", _close, "close the window")
    closing.add_argument("--window", metavar="ID")
    closing.add_argument("--reason")
    for name, text in (("disable", "close, and refuse windows from now on"), ("enable", "allow windows again")):
        add(name, _switch, text).add_argument("--reason", required=True, help="5 to 200 characters")
        verbs.choices[name].set_defaults(switch=name)
    verbs.choices["disable"].add_argument("--fleet", action="store_true", help="record that the whole fleet is told so")
    asked = add("guards", _guards, "what each guard says of opening now")
    asked.add_argument("--camera", action="append", default=[], dest="cameras", metavar="NAME")
    asked.add_argument("--purpose", choices=("alignment", "debug"), default="alignment")
    receipts = verbs.add_parser("receipts", help="the record")
    of = receipts.add_subparsers(required=True, metavar="show|verify|export")
    shown = of.add_parser("show", parents=[common], help="the events")
    shown.add_argument("--after", type=int, default=0, metavar="N")
    shown.set_defaults(verb=_receipts)
    exported = of.add_parser("export", parents=[common], help="every event as JSON")
    # Not by a default of `json`: the verbs share that option, and its default with it.
    exported.set_defaults(verb=_export, after=0)
    verified = of.add_parser("verify", parents=[common], help="whether the chain is whole")
    verified.add_argument("--dir", type=Path, metavar="DIR", help="check a copy instead: chain.jsonl and personal/")
    verified.set_defaults(verb=_verify)
    return parser


def _ask(arguments: argparse.Namespace, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """One question. Raises Ended with the rule and its sentence when the agent refuses."""
    connection = _Unix(arguments.socket)
    try:
        sent = None if body is None else json.dumps(body)
        connection.request(method, path, sent, {} if sent is None else {"Content-Type": "application/json"})
        response = connection.getresponse()
        text = response.read()
    finally:
        connection.close()
    try:
        answer = json.loads(text)
    except ValueError:
        raise ValueError(f"{response.status} {response.reason}, and no JSON") from None
    if not isinstance(answer, dict):
        raise ValueError("its answer is no object")  # noqa: TRY004 - a fault of the other side
    if response.status == http.client.INTERNAL_SERVER_ERROR:
        # No refusal: those changed nothing, and nobody knows that of this.
        raise Ended(4, f"{answer.get('message', 'the agent failed')}; see its log, and `sightglass status`")
    if response.status >= 400:
        raise Ended(3, f"refused ({answer.get('code', response.status)}): {answer.get('message', '')}")
    return answer


def _show(arguments: argparse.Namespace, answer: dict[str, Any], lines: list[str]) -> int:
    text = [json.dumps(answer, indent=2)] if arguments.json else map(_plain, lines)
    try:
        print(*text, sep="\n", end="\n" if arguments.json or lines else "", flush=True)
    except OSError as error:
        # Python would try, and complain, once more when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        # `| head` has seen enough. On a full disk nobody must read that the agent did not answer: the window is open.
        if not isinstance(error, BrokenPipeError):
            raise Ended(1, f"the agent has answered, but its answer cannot be written: {error.strerror}") from error
    return 0


def _plain(text: str) -> str:
    # A name or reason must not write lines of its own, nor move the cursor.
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def _status(arguments: argparse.Namespace) -> int:
    status = _ask(arguments, "GET", "/v1/status")
    lines = [f"{status['site']}: {status['state']}"]
    if status["disabled"] is not None:
        mark = status["disabled"]
        lines.append(f"  disabled by {mark.get('user', '?')} at {mark.get('at', '?')}: {mark.get('reason', '?')}")
    if status["window"] is not None:
        lines += _window(status["window"])
    elif status["last"] is not None:
        last = status["last"]
        why = f" ({last['why']})" if last["why"] else ""
        lines.append(f"  last window {last['id']}: {last['cause']}{why}")
    return _show(arguments, status, lines)


def _open(arguments: argparse.Namespace) -> int:
    body = {
        "request_id": arguments.request_id or f"cli-{secrets.token_hex(8)}",
        "cameras": arguments.cameras,
        "minutes": arguments.minutes,
        "reason": arguments.reason,
        "purpose": arguments.purpose,
        "viewers": arguments.viewers,
        "claimed_name": arguments.claimed_name,
    }
    window = _ask(arguments, "POST", "/v1/windows", body)
    return _show(arguments, window, [f"window {window['id']}: {window['state']}", *_window(window)])


def _close(arguments: argparse.Namespace) -> int:
    body = {"window": arguments.window, "reason": arguments.reason}
    window = _ask(arguments, "POST", "/v1/windows/close", body)
    return _show(arguments, window, [f"window {window['id']}: {window['state']} ({window['cause']})"])


def _switch(arguments: argparse.Namespace) -> int:
    body = {"reason": arguments.reason} | ({"fleet": True} if getattr(arguments, "fleet", False) else {})
    status = _ask(arguments, "POST", f"/v1/{arguments.switch}", body)
    return _show(arguments, status, [f"{status['site']}: {status['state']}"])


def _guards(arguments: argparse.Namespace) -> int:
    asked = [("purpose", arguments.purpose), *(("camera", camera) for camera in arguments.cameras)]
    query = urlencode(asked, errors="surrogateescape")
    answer = _ask(arguments, "GET", f"/v1/guards?{query}")
    lines = [f"{guard['outcome']:<8}{guard['name']:<10}{guard['why']}" for guard in answer["guards"]]
    _show(arguments, answer, lines)
    return 0 if all(guard["outcome"] == "pass" for guard in answer["guards"]) else 1


def _receipts(arguments: argparse.Namespace) -> int:
    events: list[dict[str, Any]] = []
    after = arguments.after
    while True:
        answer = _ask(arguments, "GET", f"/v1/receipts?after={after}&limit=500")
        events += answer["events"]
        if len(answer["events"]) < 500:
            break
        after = events[-1]["n"]
    lines = [_event(event) for event in events]
    return _show(arguments, {"events": events, "chain": answer["chain"]}, lines)


def _export(arguments: argparse.Namespace) -> int:
    arguments.json = True
    return _receipts(arguments)


def _event(event: dict[str, Any]) -> str:
    who = event.get("who") or {}
    person = who.get("user", "")
    said = {**event["data"], **({"reason": who["reason"]} if who.get("reason") else {})}
    fields = " ".join(f"{name}={value}" for name, value in said.items() if value not in (None, ""))
    return (
        f"{event['n']:>5}  {event['at'][:23]}Z  {event['window'] or '-':<14}  {event['event']:<9}  {person}  {fields}"
    )


def _verify(arguments: argparse.Namespace) -> int:
    if arguments.dir is not None:
        from sightglass.store import verify

        try:
            report = verify(arguments.dir)
        except OSError as error:
            raise Ended(2, f"--dir: {error.filename or arguments.dir}: {error.strerror}") from error
        problems = [{"name": p.name, "line": p.line, "why": p.why} for p in report.problems]
        answer: dict[str, Any] = {
            "ok": report.ok,
            "events": report.events,
            "expired": report.expired,
            "problems": problems,
        }
    else:
        answer = _ask(arguments, "GET", "/v1/receipts/verify")
    if answer["ok"]:
        lines = [f"the chain is whole: {answer['events']} events"]
    else:
        lines = [f"{problem['name']}: {problem['why']}" for problem in answer["problems"]]
    _show(arguments, answer, lines)
    return 0 if answer["ok"] else 1


def _window(window: dict[str, Any]) -> list[str]:
    lines = [
        f"  cameras   {', '.join(window['cameras'])} ({window['purpose']})",
        f"  until     {window['deadline']} (at the site {window['site_deadline']})",
        *([f"  page      {window['page']}"] if window["page"] else []),
        *(f"  player    {url}" for url in window["urls"].values()),
        *(f"  viewer    {v['user']} on {v['node']}{' (watching)' if v['watching'] else ''}" for v in window["viewers"]),
    ]
    return [*lines, f"  {window['state']}: {window['why']}"] if window.get("why") else lines


if __name__ == "__main__":
    sys.exit(main())
