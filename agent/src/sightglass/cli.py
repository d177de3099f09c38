"""`sightglass`: what a person on the gateway types. Standard library only, so that it answers at once.

Exit codes: 0 done, 1 a check found a problem or the answer could not be written, 2 wrong usage, 3 refused (one line:
the rule and a sentence), 4 no agent, an agent that failed, or no answer that makes sense, 130 interrupted.
"""

from __future__ import annotations

import argparse
import http.client
import io
import os
import secrets
import sys
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from sightglass import cli_metrics, cli_receipts
from sightglass.client import Ended, ask, show
from sightglass.printable import plain
from sightglass.who import said

SOCKET = "/run/sightglass-agent.sock"


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
        sys.stderr.write(f"{plain(str(ended))}\n")
        return ended.code
    except KeyboardInterrupt:
        return 130
    except (KeyError, TypeError, AttributeError) as error:
        sys.stderr.write(f"the agent at {arguments.socket} speaks another language: {plain(repr(error))}\n")
        return 4
    except (OSError, http.client.HTTPException, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        sys.stderr.write(f"no answer from the agent at {arguments.socket}: {plain(why)}\n")
        return 4


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sightglass", description="Maintenance windows of this gateway.")
    reached = argparse.ArgumentParser(add_help=False)
    reached.add_argument("--socket", default=SOCKET, metavar="PATH", help="of the agent")
    common = argparse.ArgumentParser(add_help=False, parents=[reached])
    common.add_argument("--json", action="store_true", help="the agent's answer as it is")
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
    _claims(opening)
    closing = add("close", _close, "close the window")
    closing.add_argument("--window", metavar="ID")
    closing.add_argument("--reason")
    _claims(closing)
    for name, text in (("disable", "close, and refuse windows from now on"), ("enable", "allow windows again")):
        switch = add(name, _switch, text)
        switch.add_argument("--reason", required=True, help="5 to 200 characters")
        switch.add_argument("--fleet", action="store_true", help="the mark of the whole fleet, not this site's own")
        _claims(switch)
        switch.set_defaults(switch=name)
    asked = add("guards", _guards, "what each guard says of opening now")
    asked.add_argument("--camera", action="append", default=[], dest="cameras", metavar="NAME")
    asked.add_argument("--purpose", choices=("alignment", "debug"), default="alignment")
    add("doctor", _doctor, "what each part is like, and what to do (some seconds)")
    cli_metrics.add(verbs.add_parser("metrics", parents=[reached], help="figures, as Prometheus reads them"))
    cli_receipts.add(verbs.add_parser("receipts", help="the record"), common)
    return parser


def _claims(parser: argparse.ArgumentParser) -> None:
    # Who has become root by sudo would be nobody in the record. It is no more than a claim: anybody can set it.
    parser.add_argument(
        "--claimed-name",
        metavar="NAME",
        default=os.environ.get("SUDO_USER") or None,
        help="who you are, recorded as claimed beside the account (default: who called sudo)",
    )


def _doctor(arguments: argparse.Namespace) -> int:
    # What it needs is half of the start of every other verb.
    from sightglass.cli_doctor import doctor

    return doctor(arguments)


def _status(arguments: argparse.Namespace) -> int:
    status = ask(arguments, "GET", "/v1/status")
    lines = [f"{status['site']}: {status['state']}"]
    for mark in status["disabled"]:
        whole = " for the whole fleet" if mark["cause"] == "fleet-off" else ""
        by = f"disabled{whole} by {said(mark)} at {mark.get('at', '?')}"
        lines.append(f"  {'off' if mark['cause'] == 'switch' else by}: {mark.get('reason', '?')}")
    if status["window"] is not None:
        lines += _window(status["window"])
    elif status["last"] is not None:
        last = status["last"]
        why = f" ({last['why']})" if last["why"] else ""
        lines.append(f"  last window {last['id']}: {last['cause']}{why}")
    return show(arguments, status, lines)


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
    window = ask(arguments, "POST", "/v1/windows", body)
    lines = [f"window {window['id']}: {window['state']}", *_window(window)]
    if arguments.viewers and not window["viewers"]:
        lines.append(f"  nobody    of those named may watch now: {', '.join(arguments.viewers)}")
    return show(arguments, window, lines)


def _close(arguments: argparse.Namespace) -> int:
    body = {"window": arguments.window, "reason": arguments.reason, "claimed_name": arguments.claimed_name}
    window = ask(arguments, "POST", "/v1/windows/close", body)
    return show(arguments, window, [f"window {window['id']}: {window['state']} ({window['cause']})"])


def _switch(arguments: argparse.Namespace) -> int:
    body = {"reason": arguments.reason, "fleet": arguments.fleet, "claimed_name": arguments.claimed_name}
    status = ask(arguments, "POST", f"/v1/{arguments.switch}", body)
    return show(arguments, status, [f"{status['site']}: {status['state']}"])


def _guards(arguments: argparse.Namespace) -> int:
    asked = [("purpose", arguments.purpose), *(("camera", camera) for camera in arguments.cameras)]
    query = urlencode(asked, errors="surrogateescape")
    answer = ask(arguments, "GET", f"/v1/guards?{query}")
    lines = [f"{guard['outcome']:<8}{guard['name']:<10}{guard['why']}" for guard in answer["guards"]]
    show(arguments, answer, lines)
    return 0 if all(guard["outcome"] == "pass" for guard in answer["guards"]) else 1


def _window(window: dict[str, Any]) -> list[str]:
    lines = [
        f"  cameras   {', '.join(window['cameras'])} ({window['purpose']})",
        f"  until     {window['deadline']} (at the site {window['site_deadline']})",
        *([f"  opened by {window['opened_by']['said']}"] if window["opened_by"] else []),
        *([f"  page      {window['page']}"] if window["page"] else []),
        *(f"  player    {url}" for url in window["urls"].values()),
        *(f"  {'watching' if v['watching'] else 'may watch':<9} {v['user']} on {v['node']}" for v in window["viewers"]),
    ]
    return [*lines, f"  {window['state']}: {window['why']}"] if window.get("why") else lines


if __name__ == "__main__":
    sys.exit(main())
