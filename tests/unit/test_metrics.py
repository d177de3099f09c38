"""The figures of a gateway: what is counted, what is left out, and the file that they are written to."""

from __future__ import annotations

import dataclasses
import errno
import math
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sightglass import cli, segments
from sightglass.causes import CAUSES
from sightglass.metrics import Figures, OpenWindow, silent, text
from sightglass.segments import Segments
from sightglass.store import Store
from sightglass.window import State
from tests.unit.terminal import Terminal

pytestmark = pytest.mark.requirement("U2")
FIGURES = Figures(
    site="munich-1",
    version="0.1.0",
    state="open",
    window=OpenWindow("debug", 2, 1_800_000_000.0, 1_800_000_600.0, 3, 1),
    disabled=frozenset(),
    receipts=41,
    rolled_back=0,
    room_bytes=10**9,
    written={("opened", ""): 2, ("closed", "deadline"): 1, ("refused", "guard-lane"): 4, ("refused", "join"): 1},
    vpn_up=True,
    contact_age_s=0.5,
    key_expiry=1_900_000_000.0,
    broker=True,
    heartbeats={"lane1": 0.5, "lane2": math.inf},
)


def values(said: str) -> dict[tuple[str, str], float]:
    """Every sample by its name and the value of its last label."""
    return {
        (sample.name, next(reversed(sample.labels.values()), "")): sample.value
        for family in text_string_to_metric_families(said)
        for sample in family.samples
    }


def test_the_figures_are_read_by_prometheus_own_parser() -> None:
    """Each of them, by its name."""
    found = values(text(FIGURES))
    assert found["sightglass_up", ""] == 1
    assert {state.value: found["sightglass_state", state.value] for state in State} == {
        **dict.fromkeys((state.value for state in State), 0),
        "open": 1,
    }
    assert found["sightglass_window_cameras", "debug"] == 2
    assert found["sightglass_window_opened_timestamp_seconds", ""] == 1_800_000_000
    assert found["sightglass_window_deadline_timestamp_seconds", ""] == 1_800_000_600
    assert (found["sightglass_window_leases", ""], found["sightglass_window_watching", ""]) == (3, 1)
    assert found["sightglass_receipts", ""] == 41
    assert found["sightglass_receipts_rolled_back", ""] == 0
    assert found["sightglass_lane_heartbeat_age_seconds", "lane2"] == math.inf
    assert found["sightglass_windows_opened_total", ""] == 2
    assert found["sightglass_windows_closed_total", "deadline"] == 1
    assert found["sightglass_refused_total", "guard-lane"] == 4
    assert found["sightglass_vpn_key_expiry_timestamp_seconds", ""] == 1_900_000_000


def test_what_can_be_foreseen_begins_at_nought() -> None:
    """Prometheus sees no increase in a series that begins at 1."""
    found = values(text(dataclasses.replace(FIGURES, written={})))
    assert [found["sightglass_windows_closed_total", cause] for cause in CAUSES] == [0] * len(CAUSES)
    for rule in ("join", "guard-lane", "guard-vpn", "guard-exposure", "guard-time"):
        assert found["sightglass_refused_total", rule] == 0


def test_what_is_not_known_is_absent() -> None:
    """A nought would be a figure."""
    unknown = dataclasses.replace(FIGURES, window=None, room_bytes=None, contact_age_s=None, key_expiry=None)
    names = {name for name, _ in values(text(unknown))}
    assert {name for name, _ in values(text(FIGURES))} - names == {
        "sightglass_window_cameras",
        "sightglass_window_opened_timestamp_seconds",
        "sightglass_window_deadline_timestamp_seconds",
        "sightglass_window_leases",
        "sightglass_window_watching",
        "sightglass_receipts_free_bytes",
        "sightglass_vpn_contact_age_seconds",
        "sightglass_vpn_key_expiry_timestamp_seconds",
    }


def test_a_site_with_any_name_is_one_label() -> None:
    """Quotes, backslashes and line ends are escaped."""
    name = 'a"b\\c\nd'
    found = text(dataclasses.replace(FIGURES, site=name))
    (family,) = [f for f in text_string_to_metric_families(found) if f.name == "sightglass_agent_info"]
    assert family.samples[0].labels["site"] == name


def test_the_store_counts_what_it_has_written(tmp_path: Path) -> None:
    """By cause or rule; the reason of a refused viewer is a sentence, and no label."""
    store = Store(tmp_path, "boot")
    store.append("opening", "w-1", {"cameras": ["cam1"]}, {"user": "ann", "reason": "glare"})
    store.append("refused", "w-1", {"what": "join", "why": "no capability for this site"}, {"user": "bob"})
    store.append("refused", None, {"what": "open", "code": "second-window", "why": "a window is open"}, None)
    store.append("closed", "w-1", {"cause": "deadline", "cut_ms": 2.0}, None)
    assert store.written == {
        ("started", ""): 1,
        ("opening", ""): 1,
        ("refused", "join"): 1,
        ("refused", "second-window"): 1,
        ("closed", "deadline"): 1,
    }


def test_a_rollback_is_told_of_for_as_long_as_the_record_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By each later start, until two segments have begun after it; without room for the event, too."""
    store = Store(tmp_path, "boot")
    store.append("disabled", None, {"cause": "disabled"}, None)
    assert store.rolled_back == 0
    chain = tmp_path / "receipts" / "chain.jsonl"
    chain.write_bytes(chain.read_bytes().splitlines(keepends=True)[0])
    with pytest.MonkeyPatch.context() as full:
        full.setattr(Segments, "write", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
        assert Store(tmp_path, "boot").rolled_back == 1
    assert [Store(tmp_path, "boot").rolled_back for _ in range(3)] == [1, 1, 1]
    monkeypatch.setattr(segments, "FULL_BYTES", 10_000)
    sizes: list[int] = []
    while not sizes or Store(tmp_path, "boot").rolled_back:
        store = Store(tmp_path, "boot")
        before = len(list(chain.parent.glob("chain-*")))
        while len(list(chain.parent.glob("chain-*"))) == before:
            store.append("refused", None, {"what": "open", "why": "x" * 3000}, None)
        sizes.append(before + 1)
    assert sizes == [1, 2]


def test_the_command_shows_what_the_agent_says(terminal: Terminal) -> None:
    """As it is."""
    terminal.agent.figures = text(FIGURES)
    assert terminal.run("metrics") == (0, terminal.agent.figures, "")


def test_the_file_is_written_whole_and_can_be_read_by_all(terminal: Terminal, tmp_path: Path) -> None:
    """In place of the one before, and nothing is left beside it."""
    file = tmp_path / "sightglass.prom"
    file.write_text("before")
    terminal.agent.figures = text(FIGURES)
    assert terminal.run("metrics", "--file", str(file)) == (0, "", "")
    assert file.read_text() == terminal.agent.figures
    assert file.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [file]


def test_without_an_agent_the_file_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The figures of before would be taken for those of now."""
    file = tmp_path / "sightglass.prom"
    file.write_text(text(FIGURES))
    assert cli.main(["metrics", "--file", str(file), "--socket", str(tmp_path / "none.sock")]) == 4
    assert "no answer from the agent" in capsys.readouterr().err
    assert file.read_text() == silent()
    assert values(silent()) == {("sightglass_up", ""): 0}


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("sightglass.prom", "--file: must be an absolute path that ends in .prom, not 'sightglass.prom'"),
        ("/tmp/figures", "--file: must be an absolute path that ends in .prom, not '/tmp/figures'"),
        ("/nowhere/x.prom", "--file: /nowhere/x.prom: No such file or directory"),
    ],
)
def test_a_bad_file_is_one_sentence(terminal: Terminal, file: str, said: str) -> None:
    """The option, the rule and the value."""
    code, out, err = terminal.run("metrics", "--file", file)
    assert (code, out) == (2, "")
    assert said in err.splitlines()[-1]


def test_a_link_in_the_file_s_place_is_replaced_and_not_followed(terminal: Terminal, tmp_path: Path) -> None:
    """Root writes into a directory that may belong to another user."""
    victim, file = tmp_path / "victim", tmp_path / "sightglass.prom"
    victim.write_text("precious")
    file.symlink_to(victim)
    assert terminal.run("metrics", "--file", str(file))[0] == 0
    assert victim.read_text() == "precious"
    assert not file.is_symlink()
