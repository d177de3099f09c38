"""What the routes ask of the agent, and the shapes of the answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from sightglass.who import Who


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is at the other end of the unix socket, by the kernel's word."""

    uid: int
    user: str
    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """What is asked for; shapes are checked, the site's rules are not. `minutes` None: the site's default."""

    request_id: str
    cameras: tuple[str, ...]
    minutes: int | None
    reason: str
    purpose: str
    viewers: tuple[str, ...]
    privacy: str
    claimed_name: str | None


@dataclass(frozen=True, slots=True)
class ViewerView:
    """A viewer who holds a lease, and whether pictures go there now."""

    user: str
    node: str
    watching: bool


@dataclass(frozen=True, slots=True)
class OpenerView(Who):
    """Who opened a window; `said` is the same in words. Only operators are told."""

    said: str


@dataclass(frozen=True, slots=True)
class WindowView:
    """A window as people see it. Times are UTC in ISO 8601, `site_deadline` the deadline in the site's own time.

    `urls` are for players, by camera, `page` is for browsers; both only while the window lives.
    """

    id: str
    request_id: str
    state: str
    purpose: str
    cameras: tuple[str, ...]
    minutes: int
    opened_at: str | None
    deadline: str
    site_deadline: str
    remaining_s: float
    urls: dict[str, str]
    page: str | None
    viewers: tuple[ViewerView, ...]
    cause: str | None
    why: str | None
    privacy: str
    opened_by: OpenerView | None


@dataclass(frozen=True, slots=True)
class GuardView:
    """One guard's answer: `outcome` is pass, fail or unknown."""

    name: str
    outcome: str
    code: str
    why: str


@dataclass(frozen=True, slots=True)
class FindingView:
    """What the doctor says of one part: `verdict` is ok, warn, fail or unknown; `do` is empty where it is ok."""

    part: str
    verdict: str
    evidence: str
    do: str


@dataclass(frozen=True, slots=True)
class StatusView:
    """The truth about one gateway. `window` is the one that is not closed, `last` the newest one that is.

    `disabled` are the marks that keep windows from opening, with `cause` (disabled: by the site, fleet-off, switch),
    and, where they are known, `at`, `user` and `reason`. `timezone` is the site's, such as Europe/Berlin.
    """

    site: str
    timezone: str
    state: str
    window: WindowView | None
    last: WindowView | None
    disabled: list[dict[str, Any]]
    version: str


@dataclass(frozen=True, slots=True)
class Chain:
    """The head of the receipt chain; every answer carries it."""

    n: int
    hash: str


class AgentPort(Protocol):
    """What the agent can do for a caller. Every method may raise Refusal; then nothing was changed."""

    async def open(self, request: OpenRequest, caller: Caller) -> WindowView:
        """Open a window, or return the one that this request id opened before. Returns when the picture is there."""

    async def close(
        self, window: str | None, reason: str | None, caller: Caller, claimed_name: str | None = None
    ) -> WindowView:
        """Close the window and see it gone; `window` (an id), when given, must be the one that is open.

        Any operator may close another's; the record has who it was, and `claimed_name` beside that.
        """

    async def disable(self, reason: str, caller: Caller, *, fleet: bool, claimed_name: str | None = None) -> StatusView:
        """Close what is open and refuse windows until enabled again. `fleet`: so it is said to every gateway."""

    async def enable(self, reason: str, caller: Caller, *, fleet: bool, claimed_name: str | None = None) -> StatusView:
        """Take the site's own mark away, or with `fleet` that of the whole fleet. Windows open where none is left."""

    async def status(self) -> StatusView:
        """How things are."""

    async def guards(self, cameras: tuple[str, ...], purpose: str) -> tuple[GuardView, ...]:
        """What every guard says now of opening a window on these cameras (none: all)."""

    async def doctor(self) -> tuple[FindingView, ...]:
        """What each part of the gateway is like that the agent sees, and what to do. Takes some seconds."""

    async def metrics(self) -> str:
        """The figures of this gateway in Prometheus' text format, with nobody's name in them."""

    async def receipts(self, after: int, limit: int) -> list[dict[str, Any]]:
        """Events after a number, oldest first."""

    async def verify(self, known: str | None) -> dict[str, Any]:
        """Whether the chain is whole, and has the event `known` (N:HASH) where one is given.

        `{"ok", "events", "expired", "problems": [{"name", "line", "why"}]}`
        """

    def chain(self) -> Chain:
        """The head of the receipt chain."""
