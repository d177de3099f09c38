"""The window's table: each case under the rule it proves, then random walks with numbered invariants."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sightglass import guards
from sightglass.refusal import Refusal
from sightglass.verdict import Outcome, Verdict, failed, passed, unknown
from sightglass.window import (
    OPENING_S,
    SUSPENDING,
    TABLE,
    Calm,
    Cut,
    Disable,
    Enable,
    End,
    Event,
    Gone,
    KeepDisabled,
    Limits,
    Machine,
    Open,
    Purpose,
    Ready,
    Record,
    Renewed,
    Safe,
    Show,
    Start,
    State,
    Unsafe,
    Watched,
    Window,
    admits,
    demanded,
    misplaced,
    renewable,
    step,
)

LIMITS = Limits(lease_s=15, nobody_joined_s=600, last_viewer_gone_s=120, lane_settle_s=2)
STANDING = frozenset(guards.STANDING)
PASSING = tuple(passed(guard, "-") for guard in guards.STANDING)
GOOD = (*PASSING, passed("lane", "-"))
PLAIN = Window("w-1", "request-1", ("cam1",), Purpose.ALIGNMENT, 10, frozenset(), "redacted", 0.0, deadline=600.0)
EVENTS = (
    Open(PLAIN, GOOD),
    Ready(),
    Renewed(),
    Watched(),
    Unsafe("lane", "moving"),
    Calm(),
    Safe(),
    End("closed"),
    Gone(),
    Disable(),
    Enable(),
)


def window(**changes: object) -> Window:
    """A ten-minute window that began at 0."""
    return dataclasses.replace(PLAIN, **changes)  # type: ignore[arg-type]


def machine(state: State, **changes: object) -> Machine:
    """A machine in a state, with a window where the state has one."""
    has = state in (State.OPENING, State.OPEN, State.SUSPENDED, State.CLOSING)
    built = Machine(LIMITS, state, window() if has else None, frozenset(["disabled"] * (state is State.DISABLED)))
    return dataclasses.replace(built, **changes)  # type: ignore[arg-type]


@pytest.mark.requirement("O1")
def test_the_table_lists_every_state() -> None:
    """A state that the table does not know would refuse even its own end."""
    assert set(TABLE) == set(State)


@pytest.mark.requirement("F3")
@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_without_a_place_is_refused_and_changes_nothing(state: State, event: Event) -> None:
    """Whatever the table does not list is a refusal with a code and a sentence."""
    before = machine(state)
    if type(event) in TABLE[state]:
        after, _ = step(before, event, 1.0)
        assert after.state in State
        return
    with pytest.raises(Refusal) as refused:
        step(before, event, 1.0)
    assert refused.value.code
    assert before == machine(state)


@pytest.mark.requirement("O1")
@pytest.mark.parametrize(
    ("event", "states"),
    [
        (Gone(), {State.CLOSING}),
        (Unsafe("lane", "moving"), {State.OPEN, State.SUSPENDED}),
        (Calm(), {State.SUSPENDED}),
        (Safe(), {State.SUSPENDED}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_loops_own_events_have_a_place_only_where_it_makes_them(event: Event, states: set[State]) -> None:
    """What can come only by a fault of the loop is refused, and the log has it."""
    assert {state for state in State if misplaced(state, type(event)) is None} == states


@pytest.mark.requirement("O1")
def test_a_window_goes_through_its_life() -> None:
    """Opening, open, closing, closed: each step with its records in order."""
    opening, effects = step(Machine(LIMITS), EVENTS[0], 0.0)
    assert opening.state is State.OPENING
    assert [type(effect) for effect in effects] == [Record, Start]
    opened, effects = step(opening, Ready(), 1.0)
    assert opened.state is State.OPEN
    assert effects == (Record("opened"),)
    closing, effects = step(opened, End("closed"), 2.0)
    assert closing.state is State.CLOSING
    assert effects[0] == Cut("closed")
    closed, effects = step(closing, Gone(), 3.0)
    assert closed == Machine(LIMITS)
    assert effects == (Record("closed", {"cause": "closed"}),)


@pytest.mark.requirement("F3")
@pytest.mark.requirement("O2")
@pytest.mark.parametrize("guard", [*guards.OPENING, *SUSPENDING])
@pytest.mark.parametrize("doubt", [failed, unknown])
def test_nothing_opens_past_a_guard(guard: str, doubt: object) -> None:
    """Fail and unknown refuse alike, by the guard's name and with its reason."""
    verdict = doubt(guard, "code", "the reason")  # type: ignore[operator]
    with pytest.raises(Refusal) as refused:
        step(Machine(LIMITS), Open(window(), (*GOOD, verdict)), 0.0)
    assert refused.value.code == f"guard-{guard}"
    assert "the reason" in refused.value.message


@pytest.mark.requirement("O5")
def test_the_deadline_ends_a_window_in_every_living_state() -> None:
    """At the deadline, not after it."""
    for state in (State.OPENING, State.OPEN, State.SUSPENDED):
        alive = machine(state, window=window(renewed=599.0, joined=True, last_watched=599.0))
        early = demanded(alive, GOOD, 599.9)
        assert not isinstance(early, End) or early.cause == "not-ready"
        assert demanded(alive, GOOD, 600.0) == End("deadline")


@pytest.mark.requirement("F3")
@pytest.mark.parametrize("guard", guards.STANDING)
def test_a_failing_guard_ends_a_window_at_once(guard: str) -> None:
    """With the guard's code as the cause."""
    alive = machine(State.OPEN, window=window(renewed=9.0, opened=1.0))
    assert demanded(alive, (failed(guard, "not-vpn-only", "why"),), 10.0) == End("not-vpn-only", "why")


@pytest.mark.requirement("F3")
def test_lasting_ignorance_ends_a_window_with_its_lease() -> None:
    """One slow answer ends nothing; a lease without renewal does, and the cause says what was not known."""
    alive = machine(State.OPEN, window=window(renewed=10.0, opened=1.0))
    doubt = (unknown("vpn", "tailscaled-gone", "no answer"), passed("lane", "-"))
    assert demanded(alive, doubt, 24.9) is None
    assert not renewable(alive, doubt[:1], STANDING)
    assert demanded(alive, doubt, 25.0) == End("tailscaled-gone", "no answer")


@pytest.mark.requirement("F3")
def test_a_missing_guard_is_not_a_pass() -> None:
    """A guard that did not answer at all renews nothing."""
    alive = machine(State.OPEN)
    assert renewable(alive, PASSING, STANDING)
    for missing in PASSING:
        assert not renewable(alive, tuple(verdict for verdict in PASSING if verdict != missing), STANDING)
    assert not renewable(machine(State.CLOSING), PASSING, STANDING)


@pytest.mark.requirement("O2")
def test_alignment_suspends_while_the_lane_is_not_safe() -> None:
    """Fail, unknown and silence suspend; safe again resumes; debug goes on."""
    alive = machine(State.OPEN, window=window(renewed=9.0, opened=1.0))
    assert demanded(alive, (*PASSING, failed("lane", "lane", "moving")), 10.0) == Unsafe("lane", "moving")
    assert demanded(alive, (*PASSING, unknown("lane", "lane-unknown", "stale")), 10.0) == Unsafe(
        "lane-unknown", "stale"
    )
    assert demanded(alive, PASSING, 10.0) == Unsafe("lane-unknown", "nothing is known of the lane")
    suspended, effects = step(alive, Unsafe("lane", "moving"), 10.0)
    assert (suspended.state, effects[0]) == (State.SUSPENDED, Show(False))
    assert demanded(suspended, GOOD, 10.0) == Calm()
    calm, effects = step(suspended, Calm(), 10.0)
    assert (calm.state, effects) == (State.SUSPENDED, ())
    assert demanded(calm, GOOD, 11.9) is None, "it has not been safe for long enough"
    again, _ = step(calm, Unsafe("lane-unknown", "stale"), 11.0)
    assert demanded(again, GOOD, 13.0) == Calm(), "the time begins anew"
    assert demanded(calm, GOOD, 12.0) == Safe()
    resumed, effects = step(suspended, Safe(), 11.0)
    assert (resumed.state, effects[-1]) == (State.OPEN, Show(True))
    debug = machine(State.OPEN, window=window(renewed=9.0, opened=1.0, purpose=Purpose.DEBUG))
    assert demanded(debug, (*PASSING, failed("lane", "lane", "moving")), 10.0) is None


@pytest.mark.requirement("U5")
def test_a_suspension_has_a_name_until_it_is_over() -> None:
    """In the record, and in the window for page and API; another name is news, another reason is not."""
    alive = machine(State.OPEN, window=window(renewed=9.0, opened=1.0))
    suspended, effects = step(alive, Unsafe("lane", "moving"), 10.0)
    assert effects[-1] == Record("suspended", {"cause": "lane", "why": "moving"})
    assert suspended.window is not None
    assert (suspended.window.cause, suspended.window.why) == ("lane", "moving")
    assert demanded(suspended, (*PASSING, failed("lane", "lane", "closing")), 10.0) is None
    stale = demanded(suspended, (*PASSING, unknown("lane", "lane-unknown", "stale")), 10.0)
    assert stale == Unsafe("lane-unknown", "stale")
    renamed, _ = step(suspended, stale, 10.0)
    assert renamed.window is not None
    assert renamed.window.cause == "lane-unknown"
    resumed, _ = step(renamed, Safe(), 11.0)
    assert resumed.window is not None
    assert (resumed.window.cause, resumed.window.why) == (None, None)


@pytest.mark.requirement("O2")
@pytest.mark.parametrize("doubt", [failed("barrier", "barrier", "it is up"), None], ids=["failing", "missing"])
def test_any_guard_of_the_table_suspends_and_ends_nothing(
    doubt: Verdict | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table decides, not the lane's name: the same guard ends the window as soon as it is not in it."""
    alive = machine(State.OPEN, window=window(renewed=9.0, opened=1.0))
    verdicts = (*GOOD, doubt) if doubt else GOOD
    assert demanded(alive, verdicts, 10.0) == (End("barrier", "it is up") if doubt else None)
    both = {**SUSPENDING, "barrier": frozenset({Purpose.ALIGNMENT})}
    monkeypatch.setattr("sightglass.window.SUSPENDING", both)
    unknown_barrier = Unsafe("barrier-unknown", "nothing is known of the barrier")
    assert demanded(alive, verdicts, 10.0) == (Unsafe("barrier", "it is up") if doubt else unknown_barrier)
    assert demanded(alive, (*GOOD, passed("barrier", "-")), 10.0) is None


@pytest.mark.requirement("O2")
def test_a_lane_that_starts_to_move_while_opening_ends_it() -> None:
    """Nobody has seen a picture yet: closing is cheaper than a slate."""
    alive = machine(State.OPENING)
    assert demanded(alive, (*PASSING, failed("lane", "lane", "moving")), 1.0) == End("lane", "moving")


@pytest.mark.requirement("O5")
def test_a_window_that_nobody_uses_ends_by_itself() -> None:
    """Ten minutes when nobody joins, two minutes after the last viewer is gone."""
    unused = machine(State.OPEN, window=window(opened=1.0, renewed=600.0, deadline=7200.0))
    assert demanded(unused, GOOD, 600.9) is None
    unused = machine(State.OPEN, window=window(opened=1.0, renewed=601.0, deadline=7200.0))
    assert demanded(unused, GOOD, 601.0) == End("nobody-joined")
    watched, _ = step(machine(State.OPEN, window=window(opened=1.0, deadline=7200.0)), Watched(), 50.0)
    left = dataclasses.replace(watched, window=dataclasses.replace(watched.window, renewed=169.0))  # type: ignore[type-var]
    assert demanded(left, GOOD, 169.9) is None
    assert demanded(left, GOOD, 170.0) == End("last-viewer-gone")


@pytest.mark.requirement("F3")
def test_an_opening_that_gets_no_picture_ends() -> None:
    """The processes have a bounded time to publish."""
    alive = machine(State.OPENING, window=window(renewed=OPENING_S))
    assert demanded(alive, GOOD, OPENING_S) is not None


@pytest.mark.requirement("N3")
def test_disabled_closes_and_outlives_the_window() -> None:
    """Disabling an open window cuts first, then keeps the mark; only enable ends it."""
    closing, effects = step(machine(State.OPEN), Disable(), 5.0)
    assert effects[0] == Cut("disabled")
    assert KeepDisabled("disabled", True) in effects
    disabled, _ = step(closing, Gone(), 6.0)
    assert disabled.state is State.DISABLED
    with pytest.raises(Refusal, match="disabled"):
        step(disabled, EVENTS[0], 7.0)
    enabled, effects = step(disabled, Enable(), 8.0)
    assert enabled.state is State.CLOSED
    assert KeepDisabled("disabled", False) in effects


@pytest.mark.requirement("U2")
def test_the_sites_own_mark_and_the_fleets_do_not_lift_each_other() -> None:
    """Whoever disabled enables: a site that was off stays off after the fleet is on again, and the other way round."""
    for first, second in (("disabled", "fleet-off"), ("fleet-off", "disabled")):
        found = machine(State.CLOSED)
        for cause in (first, second):
            found, effects = step(found, Disable(cause), 5.0)
            assert effects == (KeepDisabled(cause, True), Record("disabled", {"cause": cause}))
        found, effects = step(found, Enable(first), 6.0)
        assert (found.state, *found.disabled) == (State.DISABLED, second)
        assert effects == (Record("enabled", {"cause": first}), KeepDisabled(first, False))
        assert step(found, Enable(first), 7.0) == (found, ())
        assert step(found, Enable(second), 8.0)[0].state is State.CLOSED


def _verdicts() -> st.SearchStrategy[tuple[Verdict, ...]]:
    # Often enough all of them pass, else hardly a walk would have a window.
    outcome = st.sampled_from([*[Outcome.PASS] * 6, Outcome.FAIL, Outcome.UNKNOWN])
    return st.tuples(*[outcome] * len(GOOD)).map(
        lambda row: tuple(
            Verdict(good.guard, outcome, f"{good.guard}-{outcome.value}", "why")
            for good, outcome in zip(GOOD, row, strict=True)
        )
    )


class Walk(RuleBasedStateMachine):
    """Random commands, facts and time, the agent's loop in miniature; the invariants hold after every step.

    1. A window never lives past its deadline.
    2. Nothing is opening, open or suspended unless every guard said pass when it was asked for.
    3. Viewers are admitted only between `opened` and the cut.
    4. While disabled is set no window is opening or open.
    5. No deadline ever moves.
    6. A closed or disabled machine has no window; every other has one (closing after a restart excepted).
    7. Every window that started was cut before it was closed.
    """

    @initialize()
    def start(self) -> None:
        self.now = 0.0
        self.machine = Machine(LIMITS, State.CLOSING)  # a restart begins by making sure that nothing is left
        self.verdicts: tuple[Verdict, ...] = GOOD
        self.started: dict[str, float] = {}
        self.records: list[str] = []
        self.cut = True
        self.count = 0

    def take(self, event: Event) -> bool:
        before = self.machine
        try:
            after, effects = step(before, event, self.now)
        except Refusal:
            assert self.machine is before
            return False
        for effect in effects:
            if isinstance(effect, Start):
                assert all(v.outcome is Outcome.PASS for v in self.verdicts)  # invariant 2
                assert not before.disabled  # invariant 4
                self.started[effect.window.id] = effect.window.deadline
                self.cut = False
                self.records = ["opening"]
            elif isinstance(effect, Cut):
                self.cut = True
            elif isinstance(effect, Record):
                if effect.event == "closed":
                    assert self.cut  # invariant 7
                self.records.append(effect.event)
        self.machine = after
        return True

    def settle(self) -> None:
        for _ in range(3):
            event = demanded(self.machine, self.verdicts, self.now)
            if event is None or not self.take(event):
                return

    @rule(minutes=st.integers(1, 120), purpose=st.sampled_from(Purpose))
    def open(self, minutes: int, purpose: Purpose) -> None:
        self.count += 1
        asked = window(
            id=f"w-{self.count}",
            minutes=minutes,
            purpose=purpose,
            began=self.now,
            deadline=self.now + 60 * minutes,
        )
        self.take(Open(asked, self.verdicts))

    @rule(event=st.sampled_from([*EVENTS[1:]]))
    def anything(self, event: Event) -> None:
        self.take(event)

    @rule(verdicts=_verdicts())
    def facts(self, verdicts: tuple[Verdict, ...]) -> None:
        self.verdicts = verdicts
        self.settle()

    @rule(seconds=st.sampled_from([0.25, 1.0, 14.0, 16.0, 130.0, 700.0, 8000.0]), heard=st.booleans())
    def time_passes(self, seconds: float, heard: bool) -> None:
        self.now += seconds
        standing = tuple(verdict for verdict in self.verdicts if verdict.guard in STANDING)
        if heard and renewable(self.machine, standing, STANDING):
            self.take(Renewed())
        self.settle()

    @precondition(lambda self: self.machine.state is State.CLOSING)
    @rule()
    def processes_end(self) -> None:
        self.take(Gone())

    @invariant()
    def holds(self) -> None:
        state, living = self.machine.state, self.machine.window
        alive = state in (State.OPENING, State.OPEN, State.SUSPENDED)
        if alive:
            assert living is not None
            assert self.now < living.deadline or demanded(self.machine, self.verdicts, self.now) == End("deadline")  # 1
            assert living.deadline == self.started[living.id]  # 5
            assert not self.machine.disabled  # 4
        if admits(self.machine):
            assert "opened" in self.records  # 3
            assert not self.cut
        if state in (State.CLOSED, State.DISABLED):
            assert living is None  # 6
        if state is State.DISABLED:
            assert self.machine.disabled

    def teardown(self) -> None:
        """Left alone, every walk ends closed by its deadline."""
        if not hasattr(self, "machine"):
            return
        if self.machine.window is not None:
            self.now = max(self.now, self.machine.window.deadline)
            self.settle()
        if self.machine.state is State.CLOSING:
            self.take(Gone())
        assert self.machine.state in (State.CLOSED, State.DISABLED)


TestWalk = pytest.mark.requirement("F3")(pytest.mark.requirement("O5")(Walk.TestCase))
TestWalk.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
