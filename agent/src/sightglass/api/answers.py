"""What the routes answer: the port's views, each with the head of the receipt chain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sightglass.api.port import Chain, FindingView, GuardView, StatusView, WindowView


@dataclass(frozen=True, slots=True)
class WindowAnswer(WindowView):
    """A window."""

    chain: Chain


@dataclass(frozen=True, slots=True)
class StatusAnswer(StatusView):
    """How things are."""

    chain: Chain


@dataclass(frozen=True, slots=True)
class GuardsAnswer:
    """What each guard says."""

    guards: tuple[GuardView, ...]
    chain: Chain


@dataclass(frozen=True, slots=True)
class DoctorAnswer:
    """What the doctor has found."""

    findings: tuple[FindingView, ...]
    chain: Chain


@dataclass(frozen=True, slots=True)
class ReceiptsAnswer:
    """Events, oldest first; `who` in each are the personal fields that have not expired."""

    events: list[dict[str, Any]]
    chain: Chain


@dataclass(frozen=True, slots=True)
class ProblemView:
    """What is wrong with the chain, and at which line."""

    name: str
    line: int
    why: str


@dataclass(frozen=True, slots=True)
class VerifyAnswer:
    """Whether the chain is whole."""

    ok: bool
    events: int
    expired: int
    problems: list[ProblemView]
    chain: Chain


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing was changed: the rule's name and one sentence."""

    code: str
    message: str
    chain: Chain
