"""The maintenance window as one table.

Two rules. All that changes a window is in this file: `step` is the only function that makes a new `Machine`, and the
agent's loop is its only caller. And this file does nothing: no clock, no file, no socket; time comes in as a number of
seconds of CLOCK_BOOTTIME, and what has to be done goes out as effects, in the order in which they must be done.

`TABLE[state][event]` lists every state. No key means: refused, nothing changes. The zero value of everything is closed.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

from sightglass.refusal import Refusal
from sightglass.verdict import Outcome, Verdict, decisive
from sightglass.who import Who

OPENING_S = 12.0
"""How long the window's processes may take to publish a picture (0.6 s is usual, a loaded gateway takes longer)."""


class State(enum.Enum):
    """Where the machine is. `CLOSING` lasts until no process and no listener of the window is left."""

    CLOSED = "closed"
    OPENING = "opening"
    OPEN = "open"
    SUSPENDED = "suspended"
    CLOSING = "closing"
    DISABLED = "disabled"


class Purpose(enum.Enum):
    """`ALIGNMENT`: somebody works at the camera, so the lane must stay safe. `DEBUG`: safe when it opens is enough."""

    ALIGNMENT = "alignment"
    DEBUG = "debug"


SUSPENDING: Mapping[str, frozenset[Purpose]] = MappingProxyType({"lane": frozenset({Purpose.ALIGNMENT})})
"""Guards that never end an open window: in windows of these purposes they suspend its picture, for as long as they do
not say pass; in others they judge the opening alone. Every other guard ends the window."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a site allows, in seconds."""

    lease_s: float
    nobody_joined_s: float
    last_viewer_gone_s: float
    lane_settle_s: float


@dataclass(frozen=True, slots=True)
class Window:
    """One permission. `began` and `deadline`: seconds of CLOCK_BOOTTIME; `named` empty: every entitled viewer.

    `cause` and `why` are those of its suspension while that lasts (causes.SUSPENSIONS), then those of its end.
    """

    id: str
    request_id: str
    cameras: tuple[str, ...]
    purpose: Purpose
    minutes: int
    named: frozenset[str]
    privacy: str
    began: float
    deadline: float
    opened: float | None = None
    joined: bool = False
    last_watched: float | None = None
    renewed: float | None = None
    safe_since: float | None = None
    cause: str | None = None
    why: str | None = None
    by: Who | None = None


@dataclass(frozen=True, slots=True)
class Machine:
    """The whole state. `disabled`, by its causes (`Disable`), outlives windows, agents and reboots; `window` is the one
    that is not closed yet."""

    limits: Limits
    state: State = State.CLOSED
    window: Window | None = None
    disabled: frozenset[str] = frozenset()


# What can happen.
@dataclass(frozen=True, slots=True)
class Open:
    """Somebody asks for a window; the verdicts are those of every guard, just gathered."""

    window: Window
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True, slots=True)
class Ready:
    """Every camera of the window has been published."""


@dataclass(frozen=True, slots=True)
class Renewed:
    """The shutter has confirmed a renewal."""


@dataclass(frozen=True, slots=True)
class Watched:
    """Somebody is watching now."""


@dataclass(frozen=True, slots=True)
class Unsafe:
    """A suspending guard does not say pass, for a named cause."""

    cause: str
    why: str


@dataclass(frozen=True, slots=True)
class Calm:
    """A suspended window's guards are content now; the picture waits until they have been so for the settling time."""


@dataclass(frozen=True, slots=True)
class Safe:
    """They have been content for the settling time."""


@dataclass(frozen=True, slots=True)
class End:
    """The permission is over, for a named cause."""

    cause: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Gone:
    """No process, no listener and no unit of the window is left."""


@dataclass(frozen=True, slots=True)
class Disable:
    """Nobody may open a window from now on. `cause`: `disabled`, or `fleet-off` when it is said to the whole fleet."""

    cause: str = "disabled"


@dataclass(frozen=True, slots=True)
class Enable:
    """What was disabled for this cause (as in `Disable`) is not any more; without another windows may be opened."""

    cause: str = "disabled"


Event: TypeAlias = Open | Ready | Renewed | Watched | Unsafe | Calm | Safe | End | Gone | Disable | Enable


# What has to be done.
@dataclass(frozen=True, slots=True)
class Record:
    """Append to the receipt chain; on disk before the effect that follows it."""

    event: str
    data: Mapping[str, Any] = dataclasses.field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Start:
    """Start the shutter and with it the window's processes; nobody is leased yet."""

    window: Window


@dataclass(frozen=True, slots=True)
class Show:
    """Show the picture, or a blank slate; an unconfirmed blank within 500 ms is a cut."""

    picture: bool


@dataclass(frozen=True, slots=True)
class Cut:
    """Close the shutter now. Never waits for anything."""

    cause: str


@dataclass(frozen=True, slots=True)
class KeepDisabled:
    """Write the mark of a cause that survives a reboot, unless it is there already, or remove it."""

    cause: str
    disabled: bool


Effect: TypeAlias = Record | Start | Show | Cut | KeepDisabled
Step: TypeAlias = tuple[Machine, tuple[Effect, ...]]


def _open(machine: Machine, event: Any, now: float) -> Step:
    doubt = decisive(event.verdicts)
    if doubt is not None:
        raise Refusal(f"guard-{doubt.guard}", doubt.why, 409)
    window: Window = event.window
    if not now < window.deadline:
        raise Refusal("deadline", "minutes: the deadline must lie ahead", 422)
    opening = dataclasses.replace(machine, state=State.OPENING, window=window)
    return opening, (
        Record("opening", _asked(window)),
        Start(window),
    )


def _asked(window: Window) -> dict[str, Any]:
    return {"cameras": list(window.cameras), "purpose": window.purpose.value, "privacy": window.privacy}


def _ready(machine: Machine, _event: Any, now: float) -> Step:
    window = dataclasses.replace(_window(machine), opened=now)
    return dataclasses.replace(machine, state=State.OPEN, window=window), (Record("opened"),)


def _renewed(machine: Machine, _event: Any, now: float) -> Step:
    return dataclasses.replace(machine, window=dataclasses.replace(_window(machine), renewed=now)), ()


def _watched(machine: Machine, _event: Any, now: float) -> Step:
    window = dataclasses.replace(_window(machine), joined=True, last_watched=now)
    return dataclasses.replace(machine, window=window), ()


def _suspend(machine: Machine, event: Any, _now: float) -> Step:
    # The blank goes first: the record of a suspension may wait, the picture may not.
    window = dataclasses.replace(_window(machine), cause=event.cause, why=event.why)
    suspended = dataclasses.replace(machine, state=State.SUSPENDED, window=window)
    return suspended, (Show(False), Record("suspended", {"cause": event.cause, "why": event.why}))


def _unsafe_again(machine: Machine, event: Any, _now: float) -> Step:
    window = dataclasses.replace(_window(machine), cause=event.cause, why=event.why, safe_since=None)
    return dataclasses.replace(machine, window=window), ()


def _calm(machine: Machine, _event: Any, now: float) -> Step:
    return dataclasses.replace(machine, window=dataclasses.replace(_window(machine), safe_since=now)), ()


def _resume(machine: Machine, _event: Any, _now: float) -> Step:
    window = dataclasses.replace(_window(machine), cause=None, why=None, safe_since=None)
    return dataclasses.replace(machine, state=State.OPEN, window=window), (Record("resumed"), Show(True))


def _end(machine: Machine, event: Any, _now: float) -> Step:
    # The cut first: what is written about it may fail, the cut may not.
    window = dataclasses.replace(_window(machine), cause=event.cause, why=event.why or None)
    closing = dataclasses.replace(machine, state=State.CLOSING, window=window)
    return closing, (Cut(event.cause), Record("cause", {"cause": event.cause, "why": event.why}))


def _gone(machine: Machine, _event: Any, _now: float) -> Step:
    state = State.DISABLED if machine.disabled else State.CLOSED
    effects = (Record("closed", {"cause": machine.window.cause}),) if machine.window else ()
    return dataclasses.replace(machine, state=state, window=None), effects


def _disable_idle(machine: Machine, event: Any, _now: float) -> Step:
    disabled = dataclasses.replace(machine, state=State.DISABLED, disabled=machine.disabled | {event.cause})
    return disabled, (KeepDisabled(event.cause, True), Record("disabled", {"cause": event.cause}))


def _disable_window(machine: Machine, event: Any, now: float) -> Step:
    # The mark before any record: on a full disk it is the one that must get a chance.
    closing, (cut, *records) = _end(machine, End(event.cause), now)
    disabled = Record("disabled", {"cause": event.cause})
    kept = KeepDisabled(event.cause, True)
    return dataclasses.replace(closing, disabled=machine.disabled | {event.cause}), (cut, kept, *records, disabled)


def _disable_again(machine: Machine, event: Any, now: float) -> Step:
    if event.cause not in machine.disabled:
        return _disable_idle(machine, event, now)
    # The mark may not have reached the disk the first time.
    return machine, (KeepDisabled(event.cause, True),)


def _disable_closing(machine: Machine, event: Any, _now: float) -> Step:
    disabled = dataclasses.replace(machine, disabled=machine.disabled | {event.cause})
    return disabled, (KeepDisabled(event.cause, True), Record("disabled", {"cause": event.cause}))


def _enable(machine: Machine, event: Any, now: float) -> Step:
    enabled, effects = _enable_closing(machine, event, now)
    return dataclasses.replace(enabled, state=State.DISABLED if enabled.disabled else State.CLOSED), effects


def _enable_closing(machine: Machine, event: Any, _now: float) -> Step:
    if event.cause not in machine.disabled:
        return machine, ()
    enabled = dataclasses.replace(machine, disabled=machine.disabled - {event.cause})
    return enabled, (Record("enabled", {"cause": event.cause}), KeepDisabled(event.cause, False))


def _same(machine: Machine, _event: Any, _now: float) -> Step:
    return machine, ()


def _window(machine: Machine) -> Window:
    if machine.window is None:
        raise AssertionError(f"{machine.state} without a window")
    return machine.window


Transition: TypeAlias = Callable[[Machine, Any, float], Step]

TABLE: Mapping[State, Mapping[type[Event], Transition]] = MappingProxyType(
    {
        State.CLOSED: {Open: _open, Disable: _disable_idle, Enable: _same},
        State.OPENING: {Ready: _ready, Renewed: _renewed, End: _end, Disable: _disable_window},
        State.OPEN: {
            Renewed: _renewed,
            Watched: _watched,
            Unsafe: _suspend,
            End: _end,
            Disable: _disable_window,
        },
        State.SUSPENDED: {
            Renewed: _renewed,
            Watched: _watched,
            Unsafe: _unsafe_again,
            Calm: _calm,
            Safe: _resume,
            End: _end,
            Disable: _disable_window,
        },
        State.CLOSING: {Gone: _gone, End: _same, Disable: _disable_closing, Enable: _enable_closing},
        State.DISABLED: {Disable: _disable_again, Enable: _enable},
    }
)

_REFUSALS: Mapping[tuple[State, type[Event]], tuple[str, str]] = MappingProxyType(
    {
        (State.DISABLED, Open): (
            "disabled",
            "windows are disabled on this gateway: `sightglass status` says by whom and why",
        ),
        (State.OPENING, Open): ("second-window", "a window is being opened already"),
        (State.OPEN, Open): ("second-window", "a window is open already"),
        (State.SUSPENDED, Open): ("second-window", "a window is open already (its picture is suspended)"),
        (State.CLOSING, Open): ("closing", "the last window is still closing"),
        (State.CLOSED, End): ("no-window", "no window is open"),
        (State.DISABLED, End): ("no-window", "no window is open"),
    }
)


def misplaced(state: State, event: type[Event]) -> Refusal | None:
    """Why this event has no place in this state, or None."""
    if event in TABLE[state]:
        return None
    name = f"{event.__name__} has no place in {state.value}"
    return Refusal(*_REFUSALS.get((state, event), ("out-of-place", name)), 409)


def step(machine: Machine, event: Event, now: float) -> Step:
    """The next machine and what has to be done for it, in order.

    Raises Refusal with the rule's name when the event has no place in this state; then nothing has changed.
    """
    refused = misplaced(machine.state, type(event))
    if refused is not None:
        raise refused
    transition = TABLE[machine.state][type(event)]
    return transition(machine, event, now)


def demanded(machine: Machine, verdicts: tuple[Verdict, ...], now: float) -> Event | None:
    """What time and the guards demand now, or None. The first demand wins; ask again after the step.

    `verdicts` are those of the standing and of the suspending guards; a missing one is not a pass, see `renewable`.
    """
    window = machine.window
    if window is None or machine.state not in (State.OPENING, State.OPEN, State.SUSPENDED):
        return None
    if now >= window.deadline:
        return End("deadline")
    doubt = decisive(verdict for verdict in verdicts if verdict.guard not in SUSPENDING)
    if doubt is not None and doubt.outcome is Outcome.FAIL:
        return End(doubt.code, doubt.why)
    renewed = window.began if window.renewed is None else window.renewed
    if now >= renewed + machine.limits.lease_s:
        return End(doubt.code, doubt.why) if doubt else End("shutter-lost", "no renewal was confirmed for a lease")
    if machine.state is State.OPENING:
        harm = decisive(verdict for verdict in verdicts if verdict.guard in SUSPENDING)
        if harm is not None and harm.outcome is Outcome.FAIL:
            return End(harm.code, harm.why)
        if now >= window.began + OPENING_S:
            late = f"no picture was published within {OPENING_S:.0f} s"
            return End(doubt.code, doubt.why) if doubt else End("not-ready", late)
        return None
    limits = machine.limits
    return _picture_demands(machine.state, window, verdicts, limits, now) or _nobody_watches(window, limits, now)


def _picture_demands(
    state: State, window: Window, verdicts: tuple[Verdict, ...], limits: Limits, now: float
) -> Event | None:
    unsafe = _unsafe(window.purpose, verdicts)
    if unsafe is not None:
        # Under the same name it is not news: some reasons count seconds.
        news = state is State.OPEN or window.safe_since is not None or window.cause != unsafe.cause
        return unsafe if news else None
    if state is State.OPEN:
        return None
    # A car that stands for a second between two movements must not switch the picture on and off.
    if window.safe_since is None:
        return Calm()
    return Safe() if now >= window.safe_since + limits.lane_settle_s else None


def _unsafe(purpose: Purpose, verdicts: tuple[Verdict, ...]) -> Unsafe | None:
    asked = {guard for guard, purposes in SUSPENDING.items() if purpose in purposes}
    heard = tuple(verdict for verdict in verdicts if verdict.guard in asked)
    silent = sorted(asked - {verdict.guard for verdict in heard})
    doubt = decisive(heard)
    if doubt is not None:
        return Unsafe(doubt.code, doubt.why)
    return Unsafe(f"{silent[0]}-unknown", f"nothing is known of the {silent[0]}") if silent else None


def _nobody_watches(window: Window, limits: Limits, now: float) -> Event | None:
    opened = window.began if window.opened is None else window.opened
    if not window.joined:
        return End("nobody-joined") if now >= opened + limits.nobody_joined_s else None
    last = opened if window.last_watched is None else window.last_watched
    return End("last-viewer-gone") if now >= last + limits.last_viewer_gone_s else None


def renewable(machine: Machine, standing: tuple[Verdict, ...], required: frozenset[str]) -> bool:
    """Whether leases may be renewed: a window lives, every required guard has answered, and each says pass."""
    alive = machine.state in (State.OPENING, State.OPEN, State.SUSPENDED)
    return alive and required <= {v.guard for v in standing} and decisive(standing) is None


def admits(machine: Machine) -> bool:
    """Whether viewers may hold a lease: only after `opened` is on disk."""
    return machine.state in (State.OPEN, State.SUSPENDED)
