"""One gateway in figures, as the text that Prometheus reads. No person, no reason and no address is among them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import generate_latest

from sightglass import guards
from sightglass.causes import CAUSES, SUSPENSIONS
from sightglass.window import State

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MARKS = ("disabled", "fleet-off", "switch")
"""What keeps windows from opening, by the names of `StatusView.disabled`."""


@dataclass(frozen=True, slots=True)
class OpenWindow:
    """The window that is not closed. Times are seconds since 1970; `opened` is None while it still opens."""

    purpose: str
    cameras: int
    opened: float | None
    deadline: float
    leases: int
    watching: int


@dataclass(frozen=True, slots=True)
class Figures:
    """What is counted and measured of one gateway; None where it is not known.

    `rolled_back` are the record's own events of that name (Store.rolled_back). `written` are the events written since
    this agent's start, by name and by what stood beside it (a cause, a refused opening's rule, or nothing).
    `contact_age_s` counts from the last sign of the VPN's control plane, `key_expiry` is in seconds since 1970 and None
    for a key that never expires. `heartbeats` are the ages in seconds by lane, infinite where none was heard.
    """

    site: str
    version: str
    state: str
    window: OpenWindow | None
    disabled: frozenset[str]
    receipts: int
    rolled_back: int
    room_bytes: int | None
    written: Mapping[tuple[str, str], int]
    vpn_up: bool
    contact_age_s: float | None
    key_expiry: float | None
    broker: bool
    heartbeats: Mapping[str, float]


def text(figures: Figures) -> str:
    """The figures in Prometheus' text format 0.0.4."""
    return generate_latest(_Collected([_up(1), *_families(figures)])).decode()


def silent() -> str:
    """The same of a gateway whose agent does not answer: that, and nothing else."""
    return generate_latest(_Collected([_up(0)])).decode()


@dataclass(frozen=True, slots=True)
class _Collected:
    families: list[Metric]

    def collect(self) -> Iterator[Metric]:
        yield from self.families


def _up(value: int) -> Metric:
    return GaugeMetricFamily("sightglass_up", "Whether the agent answers.", value)


def _families(figures: Figures) -> Iterator[Metric]:
    built = {"site": figures.site, "version": figures.version}
    yield InfoMetricFamily("sightglass_agent", "Which site this is, and which agent.", built)
    state = GaugeMetricFamily("sightglass_state", "1 for the state that the gateway is in.", labels=["state"])
    for one in State:
        state.add_metric([one.value], one.value == figures.state)
    yield state
    off = GaugeMetricFamily("sightglass_disabled", "1 while this keeps windows from opening.", labels=["cause"])
    for mark in MARKS:
        off.add_metric([mark], mark in figures.disabled)
    yield off
    if figures.window is not None:
        yield from _window(figures.window)
    yield from _counters(figures.written)
    yield GaugeMetricFamily("sightglass_receipts", "Events in the record.", figures.receipts)
    rolled = "Events of the last two segments that say that a start found the record shorter, changed or gone."
    yield GaugeMetricFamily("sightglass_receipts_rolled_back", rolled, figures.rolled_back)
    yield from _known("sightglass_receipts_free_bytes", "Room on the record's disk.", figures.room_bytes)
    yield GaugeMetricFamily("sightglass_vpn_up", "Whether the VPN runs and its addresses are there.", figures.vpn_up)
    age = "Since the last sign of the VPN's control plane."
    yield from _known("sightglass_vpn_contact_age_seconds", age, figures.contact_age_s)
    expiry = "When the gateway's VPN key expires; absent where it never does."
    yield from _known("sightglass_vpn_key_expiry_timestamp_seconds", expiry, figures.key_expiry)
    yield GaugeMetricFamily("sightglass_broker_connected", "Whether the lanes' broker is connected.", figures.broker)
    beats = GaugeMetricFamily(
        "sightglass_lane_heartbeat_age_seconds", "Since the last heartbeat of a lane's publisher.", labels=["lane"]
    )
    for lane, seconds in figures.heartbeats.items():
        beats.add_metric([lane], seconds)
    yield beats


def _window(window: OpenWindow) -> Iterator[Metric]:
    purpose = GaugeMetricFamily("sightglass_window_cameras", "Cameras of the open window.", labels=["purpose"])
    purpose.add_metric([window.purpose], window.cameras)
    yield purpose
    opened = "When the open window had its first picture."
    yield from _known("sightglass_window_opened_timestamp_seconds", opened, window.opened)
    deadline = "When the open window ends at the latest."
    yield GaugeMetricFamily("sightglass_window_deadline_timestamp_seconds", deadline, window.deadline)
    yield GaugeMetricFamily("sightglass_window_leases", "Viewers who are let through now.", window.leases)
    yield GaugeMetricFamily("sightglass_window_watching", "Viewers to whom pictures go now.", window.watching)


def _counters(written: Mapping[tuple[str, str], int]) -> Iterator[Metric]:
    # Those that can be foreseen begin at 0: of a series that begins at 1 Prometheus sees no increase.
    def counter(name: str, help_text: str, event: str, label: str | None, foreseen: tuple[str, ...] = ()) -> Metric:
        found = {value: count for (what, value), count in written.items() if what == event}
        if label is None:
            return CounterMetricFamily(name, help_text, sum(found.values()))
        family = CounterMetricFamily(name, help_text, labels=[label])
        for value, count in sorted({**dict.fromkeys(foreseen, 0), **found}.items()):
            family.add_metric([value], count)
        return family

    yield counter("sightglass_windows_opened", "Windows that had a picture.", "opened", None)
    yield counter("sightglass_windows_closed", "Windows that have ended.", "closed", "cause", tuple(CAUSES))
    suspended = "Pictures that were taken away for a while."
    yield counter("sightglass_windows_suspended", suspended, "suspended", "cause", tuple(SUSPENSIONS))
    refused = "Refusals that were recorded, by rule; `join` is a viewer's."
    rules = ("join", *(f"guard-{name}" for name in (*guards.OPENING, "lane")))
    yield counter("sightglass_refused", refused, "refused", "rule", rules)
    yield counter("sightglass_viewers_joined", "Viewers who came.", "joined", None)


def _known(name: str, help_text: str, value: float | None) -> Iterator[Metric]:
    if value is not None:
        yield GaugeMetricFamily(name, help_text, value)
