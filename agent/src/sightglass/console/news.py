"""What the agent tells the console, checked; and what a page shows of it. Pure."""

from __future__ import annotations

import ipaddress
import json
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Camera = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]
Gone = Literal["capability-gone", "peer-gone", "node-expired"]
Port = Annotated[int, Field(ge=1024, le=65535)]


class NewsError(Exception):
    """The agent said something that is not in the contract. The text holds nothing of it: a job carries a secret."""


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Job(_Message):
    """Where to serve, and where the stream server takes offers. `secret` is the console's, new for each window."""

    site: str = Field(max_length=64)
    purpose: Literal["alignment", "debug"]
    cameras: tuple[Camera, ...] = Field(min_length=1, max_length=4)
    address: ipaddress.IPv4Address
    port: Port
    server: Port
    secret: str = Field(min_length=16, max_length=64, repr=False)


class _First(_Message):
    job: Job


class News(_Message):
    """The window now: its state with the reason, seconds to its deadline, who may watch, and why who did may not."""

    seq: int = Field(ge=1)
    state: Literal["open", "suspended", "ended"]
    cause: str | None = Field(default=None, max_length=64)
    why: str | None = Field(default=None, max_length=500)
    remaining_s: float = Field(ge=0)
    viewers: frozenset[Address] = Field(max_length=64)
    gone: dict[Address, Gone] = Field(default={}, max_length=64)


def parse_job(line: bytes) -> Job:
    """The first line of a channel. Raises NewsError."""
    first: _First = _parse(_First, line)
    return first.job


def parse_news(line: bytes) -> News:
    """Any later line. Raises NewsError."""
    news: News = _parse(News, line)
    return news


def _parse(kind: type[_Message], line: bytes) -> Any:
    try:
        return kind.model_validate_json(line)
    except ValidationError as error:
        fault = error.errors(include_input=False, include_url=False, include_context=False)[0]
        field = ".".join(map(str, fault["loc"])) or kind.__name__.lower()
        raise NewsError(f"{field}: {fault['msg']}") from None


def shown(job: Job, news: News, viewer: Address, remaining_s: float) -> str:
    """What the page of one viewer shows, as JSON. Nobody else is named; who may not watch any more has an end too.

    `whole` says whether an end is the window's, or this viewer's alone.
    """
    whole = news.state == "ended"
    cut = not whole and viewer not in news.viewers
    return json.dumps(
        {
            "site": job.site,
            "purpose": job.purpose,
            "cameras": list(job.cameras),
            "state": "ended" if cut else news.state,
            "whole": whole,
            "cause": news.gone.get(viewer, "capability-gone") if cut else news.cause,
            "why": None if cut else news.why,
            "remaining_s": round(remaining_s, 1),
        }
    )
