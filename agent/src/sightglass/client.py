"""How a command asks the agent, and writes what people read. Standard library only."""

from __future__ import annotations

import argparse
import http.client
import json
import os
import pwd
import socket
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from sightglass.printable import plain
from sightglass.who import OPERATORS

ANSWER_S = 40
PAGE = 500
"""Events in one answer: what the agent gives at most."""


class Ended(Exception):  # noqa: N818 - no error of this program
    """The verb cannot go on: the exit code and one line for stderr."""

    def __init__(self, code: int, line: str) -> None:
        super().__init__(line)
        self.code = code


class _Unix(http.client.HTTPConnection):
    def __init__(self, path: str, seconds: float) -> None:
        super().__init__("agent", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def ask(
    arguments: argparse.Namespace,
    method: str,
    path: str,
    body: dict[str, Any] | None = None,
    seconds: float = ANSWER_S,
) -> dict[str, Any]:
    """One question, answered within `seconds`. Raises Ended with the rule and its sentence when the agent refuses."""
    response, text = _exchange(arguments, method, path, body, seconds)
    return _understood(response, text)


def read(arguments: argparse.Namespace, path: str) -> str:
    """One answer that is text. Raises as `ask`."""
    response, text = _exchange(arguments, "GET", path, None, ANSWER_S)
    if response.status != http.client.OK:
        _understood(response, text)
        raise ValueError(f"{response.status} {response.reason}")
    return text.decode()


def _exchange(
    arguments: argparse.Namespace, method: str, path: str, body: dict[str, Any] | None, seconds: float
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = _Unix(arguments.socket, seconds)
    try:
        sent = None if body is None else json.dumps(body)
        connection.request(method, path, sent, {} if sent is None else {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response, response.read()
    except PermissionError:
        # The agent is well: its socket is its operators'.
        raise Ended(3, f"refused (not-an-operator): {_user()} is not in the group {OPERATORS}") from None
    finally:
        connection.close()


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


def _understood(response: http.client.HTTPResponse, text: bytes) -> dict[str, Any]:
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


def pages(arguments: argparse.Namespace, after: int) -> Iterator[dict[str, Any]]:
    """The agent's answers with the events after a number, oldest first, until there are no more. Raises as `ask`."""
    while True:
        answer = ask(arguments, "GET", f"/v1/receipts?after={after}&limit={PAGE}")
        yield answer
        if len(answer["events"]) < PAGE:
            return
        after = answer["events"][-1]["n"]


def show(arguments: argparse.Namespace, answer: dict[str, Any], lines: list[str]) -> int:
    """The answer as JSON, or as lines for people; exit code 0. Raises Ended."""
    return put([json.dumps(answer, indent=2) + "\n"] if arguments.json else [f"{plain(line)}\n" for line in lines])


def put(pieces: Iterable[str]) -> int:
    """Write as it comes; exit code 0, also when the reader has seen enough. Raises Ended."""
    for piece in pieces:
        try:
            sys.stdout.write(piece)
            sys.stdout.flush()
        except OSError as error:
            # Python would try, and complain, once more when it closes the stream.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if isinstance(error, BrokenPipeError):
                break  # `| head` has seen enough
            # On a full disk nobody must read that the agent did not answer: the window is open.
            raise Ended(1, f"the agent has answered, but its answer cannot be written: {error.strerror}") from error
    return 0
