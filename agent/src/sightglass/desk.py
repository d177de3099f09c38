"""The desk: takes what callers ask of the agent, applies the site's rules, and shows how things are."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import logging
import secrets
from datetime import timedelta
from importlib.metadata import version
from typing import Any
from zoneinfo import ZoneInfo

from sightglass import guards, metrics
from sightglass.adapters import clock
from sightglass.agent import Agent
from sightglass.api.port import Caller, Chain, FindingView, GuardView, OpenRequest, StatusView, ViewerView, WindowView
from sightglass.doctor.examine import Examiner
from sightglass.measure import measure
from sightglass.observer import Subject
from sightglass.receipts import Head
from sightglass.recorded import opener, recorded
from sightglass.refusal import Refusal
from sightglass.who import Who, who
from sightglass.window import Disable, Enable, End, Open, Purpose, State, Window, misplaced

log = logging.getLogger(__name__)

_REMEMBERED = 500
_REFUSALS_A_MINUTE = 20
_STILL = {
    "disabled": "this site itself has disabled windows, and enables them (sightglass enable)",
    "fleet-off": "the whole fleet is disabled: fleet_on.yml enables it, `sightglass enable --fleet` this gateway alone",
}
_NOTHING = Subject((), Purpose.ALIGNMENT, frozenset(), None)


class Desk:
    """Implements `api.port.AgentPort` over one agent."""

    def __init__(self, agent: Agent) -> None:
        self._agent, self._examiner = agent, Examiner(agent)
        self._known: dict[str, WindowView] = {}
        self._refusals: list[float] = []

    def recover(self) -> None:
        """After a start: end in the record what the last agent left open, and remember its request ids."""
        store = self._agent.store
        asked: dict[str, dict[str, Any]] = {}
        ended: dict[str, str] = {}
        boots: dict[str, str] = {}
        boot = clock.boot_id()
        for event in store.recent():
            window = event["window"]
            if event["event"] == "opening":
                asked[window], boots[window] = event, event["boot"]
            elif event["event"] == "cause":
                ended.setdefault(window, str(event["data"].get("cause", "closed")))
            elif event["event"] == "closed":
                ended[window] = str(event["data"].get("cause") or ended.get(window, "closed"))
                boots.pop(window, None)
        for window, its_boot in boots.items():
            cause = ended.get(window) or ("agent-lost" if its_boot == boot else "host-restarted")
            ended[window] = cause
            for name, data in (("cause", {"why": "found at the agent's start"}), ("closed", {"found": True})):
                try:
                    store.owe(name, window, {"cause": cause, **data}, None)
                except OSError as error:
                    # A full disk must not keep the agent from starting.
                    log.warning("receipts: %s of %s waits for room: %s", name, window, error)
        for window, event in list(asked.items())[-_REMEMBERED:]:
            try:
                self._remember(recorded(window, event, ended.get(window), self._agent.config.timezone))
            except (LookupError, TypeError, ValueError, ArithmeticError) as error:
                # `receipts verify` names an edited event; the gateway's switch must work all the same.
                log.warning("receipts: the opening of %s is not as it was written: %r", window, error)

    async def open(self, request: OpenRequest, caller: Caller) -> WindowView:
        """See `AgentPort.open`."""
        agent = self._agent
        current = agent.machine.window
        if current is None and request.request_id in self._known:
            return self._known[request.request_id]
        if current is None or current.request_id != request.request_id:
            try:
                await self._open(request, caller)
            except Refusal as refused:
                raced = agent.machine.window
                if raced is None or raced.request_id != request.request_id:
                    self._record_refusal(refused, request, caller)
                    raise self._held(refused) from None
        return await self._opened(request.request_id)

    async def _open(self, request: OpenRequest, caller: Caller) -> None:
        agent, config = self._agent, self._agent.config
        minutes = config.limits.default_minutes if request.minutes is None else request.minutes
        unknown = [camera for camera in request.cameras if camera not in config.cameras]
        if unknown:
            known = ", ".join(sorted(config.cameras))
            raise Refusal("unknown-camera", f"cameras: {unknown[0]!r} is not configured here, there is {known}", 422)
        if minutes > config.limits.max_minutes:
            ceiling = config.limits.max_minutes
            raise Refusal("over-ceiling", f"minutes: at most {ceiling} at this site, not {minutes}", 422)
        if agent.machine.state is State.CLOSED and not agent.store.room():
            raise Refusal("no-room", "there is no room on the disk for a receipt", 507)
        # Before the look around: what the last window still has open would be the reason otherwise, and it is none.
        refused = misplaced(agent.machine.state, Open)
        if refused is not None:
            raise refused
        await agent.observer.renew()
        purpose, now = Purpose(request.purpose), clock.boottime()
        window = Window(
            id=f"w-{secrets.token_hex(6)}",
            request_id=request.request_id,
            cameras=request.cameras,
            purpose=purpose,
            minutes=minutes,
            named=frozenset(request.viewers),
            privacy=request.privacy,
            began=now,
            deadline=now + 60 * minutes,
            by=self._who(caller, request.claimed_name),
        )
        subject = Subject(request.cameras, purpose, frozenset(), None)
        verdicts = guards.opening(agent.observer.facts(subject, disabled=bool(agent.machine.disabled)))
        personal = {**self._asked(caller, request.claimed_name, request.reason), "viewers": list(request.viewers)}
        await agent.submit(Open(window, verdicts), personal)

    async def _opened(self, request_id: str) -> WindowView:
        agent = self._agent
        await agent.until(lambda: agent.machine.state is not State.OPENING)
        last = agent.last
        if last is None or last.request_id != request_id:
            raise Refusal("replaced", "another window has been opened meanwhile", 409)
        if last.cause is not None and last.opened is None:
            raise Refusal(last.cause, last.why or f"the window ended while it opened: {last.cause}", 409)
        return self._view(last)

    async def close(
        self, window: str | None, reason: str | None, caller: Caller, claimed_name: str | None = None
    ) -> WindowView:
        """See `AgentPort.close`. Closing what is closed already is no error: the last window is the answer."""
        agent = self._agent
        current = agent.machine.window
        if window is not None and (current is None or current.id != window):
            if agent.last is not None and agent.last.id == window:
                return self._view(agent.last)
            raise Refusal("unknown-window", f"window: {window!r} is not open here", 404)
        if current is None:
            if agent.last is None:
                raise Refusal("no-window", "no window is open", 404)
            return self._view(agent.last)
        if agent.machine.state is not State.CLOSING:
            await agent.submit(End("closed"), self._asked(caller, claimed_name, reason))
        await agent.until(lambda: agent.machine.window is None)
        return self._view(agent.last or current)

    async def disable(self, reason: str, caller: Caller, *, fleet: bool, claimed_name: str | None = None) -> StatusView:
        """See `AgentPort.disable`."""
        agent = self._agent
        cause = "fleet-off" if fleet else "disabled"
        await agent.submit(Disable(cause), self._asked(caller, claimed_name, reason))
        await agent.until(lambda: agent.machine.state is State.DISABLED)
        return await self.status()

    async def enable(self, reason: str, caller: Caller, *, fleet: bool, claimed_name: str | None = None) -> StatusView:
        """See `AgentPort.enable`."""
        cause, marks = "fleet-off" if fleet else "disabled", self._agent.store.disabled()
        if marks and cause not in marks:
            other = next(iter(marks))
            raise Refusal(f"still-{other}", _STILL[other], 409)
        await self._agent.submit(Enable(cause), self._asked(caller, claimed_name, reason))
        return await self.status()

    async def status(self) -> StatusView:
        """See `AgentPort.status`."""
        agent = self._agent
        window, last = agent.machine.window, agent.last
        switched = agent.observer.switched_off()
        recorded = next(reversed(self._known.values()), None)
        return StatusView(
            site=agent.config.site,
            timezone=agent.config.timezone,
            state=State.DISABLED.value if switched and window is None else agent.machine.state.value,
            window=None if window is None else self._view(window),
            last=self._view(last) if last is not None and window is None else recorded,
            disabled=agent.marks(),
            version=version("sightglass"),
        )

    async def guards(self, cameras: tuple[str, ...], purpose: str) -> tuple[GuardView, ...]:
        """See `AgentPort.guards`."""
        agent = self._agent
        unknown = [camera for camera in cameras if camera not in agent.config.cameras]
        if unknown:
            raise Refusal("unknown-camera", f"cameras: {unknown[0]!r} is not configured here", 422)
        await agent.observer.renew()
        subject = agent.live.subject if agent.live else _NOTHING
        asked = dataclasses.replace(subject, cameras=cameras or tuple(agent.config.cameras), purpose=Purpose(purpose))
        verdicts = guards.opening(agent.observer.facts(asked, disabled=bool(agent.machine.disabled)))
        return tuple(GuardView(v.guard, v.outcome.value, v.code, v.why) for v in verdicts)

    async def doctor(self) -> tuple[FindingView, ...]:
        """See `AgentPort.doctor`."""
        found = await self._examiner.findings()
        return tuple(FindingView(f.part, f.verdict, f.evidence, f.do) for f in found)

    async def metrics(self) -> str:
        """See `AgentPort.metrics`."""
        return metrics.text(await measure(self._agent, await self.status()))

    async def receipts(self, after: int, limit: int) -> list[dict[str, Any]]:
        """See `AgentPort.receipts`."""
        # In a thread, as verify: half a second at 20 000 events, which the loop's cut must not wait for.
        store = self._agent.store
        return await asyncio.to_thread(lambda: list(itertools.islice(store.events(after), limit)))

    async def verify(self, known: str | None) -> dict[str, Any]:
        """See `AgentPort.verify`."""
        check = self._agent.store.verification([Head.parse(known)] if known else [])
        return (await asyncio.to_thread(check)).answer()

    def chain(self) -> Chain:
        """See `AgentPort.chain`."""
        head = self._agent.store.head
        return Chain(head.n, head.hash)

    def _view(self, window: Window) -> WindowView:
        agent = self._agent
        alive = agent.machine.window is not None and agent.machine.window.id == window.id
        remaining = max(0.0, window.deadline - clock.boottime()) if alive else 0.0
        deadline = clock.wall() + timedelta(seconds=window.deadline - clock.boottime())
        opened = None if window.opened is None else clock.wall() - timedelta(seconds=clock.boottime() - window.opened)
        live = agent.live if alive else None
        view = WindowView(
            id=window.id,
            request_id=window.request_id,
            state=agent.machine.state.value if alive else State.CLOSED.value,
            purpose=window.purpose.value,
            cameras=window.cameras,
            minutes=window.minutes,
            opened_at=None if opened is None else opened.isoformat(timespec="seconds"),
            deadline=deadline.isoformat(timespec="seconds"),
            site_deadline=deadline.astimezone(ZoneInfo(agent.config.timezone)).isoformat(timespec="seconds"),
            remaining_s=round(remaining, 1),
            urls=live.urls() if live is not None else {},
            page=live.page() if live is not None else None,
            viewers=tuple(
                ViewerView(viewer.user, viewer.name, viewer.node in live.joins.watching) for viewer in agent.viewers()
            )
            if live is not None
            else (),
            cause=window.cause,
            why=window.why or (live.blind() if live is not None else None),
            privacy=window.privacy,
            opened_by=opener(dataclasses.asdict(window.by)) if window.by else None,
        )
        if not alive:
            self._remember(view)
        return view

    def _remember(self, view: WindowView) -> None:
        self._known.pop(view.request_id, None)
        self._known[view.request_id] = view
        while len(self._known) > _REMEMBERED:
            self._known.pop(next(iter(self._known)))

    def _record_refusal(self, refused: Refusal, request: OpenRequest, caller: Caller) -> None:
        now = clock.boottime()
        self._refusals = [at for at in self._refusals if at > now - 60]
        if len(self._refusals) >= _REFUSALS_A_MINUTE:
            return  # a script that retries in a loop must not wear out the disk
        self._refusals.append(now)
        data = {"what": "open", "code": refused.code, "why": refused.message, "request_id": request.request_id}
        try:
            personal = self._asked(caller, request.claimed_name, request.reason)
            self._agent.store.append("refused", None, data, personal)
        except OSError:
            return  # the refusal itself stands

    def _who(self, caller: Caller, claimed_name: str | None) -> Who:
        return who(caller.user, caller.uid, claimed_name, self._agent.config.shared_accounts)

    def _asked(self, caller: Caller, claimed_name: str | None, reason: str | None) -> dict[str, Any]:
        return {**self._who(caller, claimed_name).personal(), "reason": reason}

    def _held(self, refused: Refusal) -> Refusal:
        # Told to the operator, and not written into the chain: there a name could never expire.
        window = self._agent.machine.window
        if refused.code != "second-window" or window is None:
            return refused
        view = self._view(window)
        by = f", opened by {view.opened_by.said}" if view.opened_by else ""
        until = f"until {view.deadline} (at the site {view.site_deadline})"
        return Refusal(refused.code, f"{refused.message}: {view.id}{by}, {until}", refused.status)
