"""Windows of an earlier agent, as far as the record tells. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sightglass.api.port import OpenerView, WindowView
from sightglass.who import said
from sightglass.window import State


def opener(fields: Mapping[str, Any] | None) -> OpenerView | None:
    """Whom an opening's personal fields name; None when they have expired, or are of before all of it was recorded."""
    if not fields or not isinstance(fields.get("uid"), int) or "group" not in fields:
        return None
    claimed = fields.get("claimed_name")
    return OpenerView(
        user=str(fields.get("user")),
        uid=fields["uid"],
        group=str(fields["group"]),
        shared=fields.get("shared") is True,
        claimed_name=None if claimed is None else str(claimed),
        said=said(fields),
    )


def recorded(window: str, event: dict[str, Any], cause: str | None, zone: str) -> WindowView:
    """A window by its `opening` event. `cause` is that of its end, `zone` the site's. Raises LookupError, TypeError,
    ValueError or ArithmeticError for an event that is not as it was written."""
    data = event["data"]
    minutes = int(data.get("minutes", 0))
    deadline = datetime.fromisoformat(event["at"]) + timedelta(minutes=minutes)
    return WindowView(
        id=window,
        request_id=str(data.get("request_id", "")),
        state=State.CLOSED.value,
        purpose=str(data.get("purpose", "")),
        cameras=tuple(map(str, data.get("cameras", ()))),
        minutes=minutes,
        opened_at=event["at"],
        deadline=deadline.isoformat(timespec="seconds"),
        site_deadline=deadline.astimezone(ZoneInfo(zone)).isoformat(timespec="seconds"),
        remaining_s=0.0,
        urls={},
        page=None,
        viewers=(),
        cause=cause,
        why=None,
        privacy=str(data.get("privacy", "")),
        opened_by=opener(event.get("who")),
    )
