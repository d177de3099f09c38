"""Takes the figures of one agent, for `metrics`: tailscaled is asked anew, everything else is known already."""

from __future__ import annotations

import math

from sightglass.adapters import clock
from sightglass.adapters.tailnet import TailnetError
from sightglass.agent import Agent
from sightglass.api.port import StatusView
from sightglass.metrics import Figures, OpenWindow


async def measure(agent: Agent, status: StatusView) -> Figures:
    """The figures now, in some two seconds at most."""
    observer, store = agent.observer, agent.store
    await observer.refresh()
    vpn, heard, now = observer.vpn(), observer.heard(), clock.boottime()
    return Figures(
        site=status.site,
        version=status.version,
        state=status.state,
        window=_window(agent),
        disabled=frozenset(str(mark["cause"]) for mark in status.disabled),
        receipts=store.head.n,
        rolled_back=store.rolled_back,
        room_bytes=_free(agent),
        written=dict(store.written),
        vpn_up=vpn is not None and vpn.state == "Running" and bool(vpn.own) and set(vpn.own) <= set(vpn.present),
        contact_age_s=None if vpn is None else vpn.contact_age_s,
        key_expiry=await _key_expiry(agent),
        broker=heard.connected,
        heartbeats={lane: now - heard.heartbeats.get(lane, -math.inf) for lane in sorted(agent.config.lanes)},
    )


def _window(agent: Agent) -> OpenWindow | None:
    window, live = agent.machine.window, agent.live
    if window is None:
        return None
    wall, now = clock.wall().timestamp(), clock.boottime()
    return OpenWindow(
        purpose=window.purpose.value,
        cameras=len(window.cameras),
        opened=None if window.opened is None else wall - now + window.opened,
        deadline=wall - now + window.deadline,
        leases=0 if live is None else len(live.holding),
        watching=0 if live is None else len(live.joins.watching),
    )


def _free(agent: Agent) -> int | None:
    try:
        return agent.store.free()
    except OSError:
        return None


async def _key_expiry(agent: Agent) -> float | None:
    try:
        expiry = (await agent.parts.tailnet.standing()).key_expiry
    except TailnetError:
        return None
    return None if expiry is None else expiry.timestamp()
