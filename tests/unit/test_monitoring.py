"""The board and the alerts, by the programs that will read them: a real node_exporter, a real Prometheus, its promtool,
and the models of Grafana, which itself is not to be had here."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from lab import monitoring, wait
from lab.paths import LabError
from sightglass.metrics import Figures, OpenWindow, silent, text
from tests.unit.test_metrics import FIGURES

pytestmark = pytest.mark.requirement("U2")
FOLDER = Path(__file__).parents[2] / "monitoring"
BOARD: dict[str, Any] = json.loads((FOLDER / "board.json").read_text())
ASKED = {panel["title"]: target["expr"] for panel in BOARD["panels"] for target in panel["targets"]}
WRITTEN = "/var/lib/prometheus/node-exporter/sightglass.prom"
VARIABLES = {"$site": ".*"}
ALERTS = {rule["alert"]: rule for rule in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"][0]["rules"]}


@pytest.fixture(scope="module")
def programs() -> Path:
    """The directory of the programs."""
    try:
        return monitoring.programs()
    except (LabError, OSError) as error:
        pytest.skip(f"no Prometheus: run `make parts` as root ({error})")


@dataclasses.dataclass
class Watched:
    """A Prometheus that reads one gateway's file through node_exporter."""

    file: Path
    url: str

    def say(self, said: str) -> None:
        """The gateway's file from now on; returns when it has been read."""
        self.file.write_text(said)
        marked = time.time()
        wait.until(lambda: self.value("timestamp(sightglass_up)", -1) > marked, 20, "a scrape of the new file")

    def ask(self, expression: str) -> list[dict[str, Any]]:
        """The result of an expression. Raises for one that Prometheus does not take."""
        answer = requests.get(f"{self.url}/api/v1/query", {"query": expression}, timeout=10).json()
        assert answer["status"] == "success", answer
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    def value(self, expression: str, default: float | None = None) -> float:
        """The one value of an expression."""
        found = self.ask(expression)
        if not found and default is not None:
            return default
        (one,) = found
        return float(one["value"][1])

    def panel(self, title: str) -> list[dict[str, Any]]:
        """What a panel of the board shows."""
        return self.ask(filled(ASKED[title]))


def filled(expression: str) -> str:
    """An expression of the board with its variables filled in."""
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    assert "$" not in expression, "a variable that the board has and this test does not"
    return expression


def free_port() -> int:
    """A port on loopback that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def running(command: list[str | Path], log: Path) -> Iterator[None]:
    """A process that is gone afterwards; what it said is in `log`."""
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out) as process:
        try:
            yield
        finally:
            process.kill()


@pytest.fixture(scope="module")
def watched(programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Prometheus, node_exporter, and the file between the gateway and them."""
    folder = tmp_path_factory.mktemp("prometheus")
    textfiles, exporter, port = folder / "textfiles", free_port(), free_port()
    textfiles.mkdir()
    file = textfiles / "sightglass.prom"
    file.write_text(silent())
    config = {
        "global": {"scrape_interval": "250ms", "scrape_timeout": "200ms", "evaluation_interval": "250ms"},
        "rule_files": [str(FOLDER / "alerts.yml")],
        "scrape_configs": [{"job_name": "node", "static_configs": [{"targets": [f"127.0.0.1:{exporter}"]}]}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    url = f"http://127.0.0.1:{port}"
    exporting: list[str | Path] = [
        programs / "prometheus-node-exporter",
        "--collector.disable-defaults",
        "--collector.textfile",
        f"--collector.textfile.directory={textfiles}",
        f"--web.listen-address=127.0.0.1:{exporter}",
    ]
    reading: list[str | Path] = [
        programs / "prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    watched = Watched(file, url)
    with running(exporting, folder / "exporter.log"), running(reading, folder / "prometheus.log"):
        try:
            wait.until(lambda: answers(watched), 30, "Prometheus has read the file")
        except Exception as error:
            raise AssertionError((folder / "prometheus.log").read_text()[-2000:]) from error
        yield watched


def answers(watched: Watched) -> bool:
    """Whether the first figure has arrived."""
    with contextlib.suppress(requests.RequestException):
        return watched.ask("sightglass_up") != []
    return False


def numbers(found: list[dict[str, Any]], label: str) -> dict[str, float]:
    """Values by one label."""
    return {one["metric"].get(label, ""): float(one["value"][1]) for one in found}


def test_the_board_shows_a_window_and_its_end(watched: Watched) -> None:
    """As the operations engineer sees it: closed, open with somebody watching, closed by its cause."""
    now = time.time()
    closed = dataclasses.replace(FIGURES, state="closed", window=None, written={})
    open_now = dataclasses.replace(FIGURES, written={}, window=OpenWindow("debug", 1, now, now + 600, 2, 1))
    watched.say(text(closed))
    assert watched.value(filled(ASKED["Sites"])) == 1
    assert [watched.value(filled(ASKED[title])) for title in ("Windows now", "Watching now", "Silent")] == [0, 0, 0]
    assert watched.panel("Open now") == []
    assert numbers(watched.panel("State by site"), "site") == {"munich-1": 0}
    watched.say(text(open_now))
    assert [watched.value(filled(ASKED[title])) for title in ("Windows now", "Watching now", "Silent")] == [1, 1, 0]
    assert numbers(watched.panel("State by site"), "site") == {"munich-1": 2}
    (until,) = numbers(watched.panel("Open now"), "site").values()
    assert until / 1000 == pytest.approx(now + 600, abs=1)
    watched.say(text(dataclasses.replace(closed, written={("closed", "deadline"): 1, ("refused", "guard-lane"): 2})))
    wait.until(lambda: numbers(watched.panel("Windows that ended, by cause"), "cause").keys() == {"deadline"}, 10, "it")
    assert watched.value(filled(ASKED["Windows now"])) == 0


def test_the_board_shows_what_is_off_and_what_is_silent(watched: Watched) -> None:
    """The marks, a record that was rolled back, and a gateway without an agent."""
    off: Figures = dataclasses.replace(
        FIGURES, state="disabled", window=None, disabled=frozenset({"fleet-off"}), written={}, rolled_back=1
    )
    watched.say(text(off))
    titles = ("Sites", "Disabled", "Records rolled back", "Silent")
    assert [watched.value(filled(ASKED[title])) for title in titles] == [1, 1, 1, 0]
    watched.say(silent())
    assert [watched.value(filled(ASKED[title])) for title in titles] == [0, 0, 0, 1]


def test_every_panel_has_something_to_show(watched: Watched) -> None:
    """An expression that no figure fits would be empty for ever."""
    now = time.time()
    shown = dataclasses.replace(FIGURES, window=OpenWindow("debug", 1, now, now + 600, 2, 1), key_expiry=now + 86400)
    watched.say(text(dataclasses.replace(shown, written={})))
    watched.say(text(dataclasses.replace(shown, written={("closed", "lane"): 1, ("refused", "guard-lane"): 1})))
    wait.until(lambda: all(watched.panel(title) for title in ASKED), 20, "something in each panel")
    assert numbers(watched.panel("Refusals, by rule"), "rule").keys() == {"guard-lane"}


def test_the_alerts_of_a_gateway_that_is_well_are_quiet(watched: Watched) -> None:
    """And each one fires on what it is for: here with the real figures, when it does is below."""
    now = time.time()
    sound = dataclasses.replace(FIGURES, state="closed", window=None, written={}, key_expiry=now + 90 * 86400)
    watched.say(text(sound))
    assert {name for name, rule in ALERTS.items() if watched.ask(rule["expr"])} == set()
    ill = dataclasses.replace(
        FIGURES,
        window=OpenWindow("debug", 1, now - 700, now - 100, 0, 0),
        key_expiry=now + 86400,
        vpn_up=False,
        room_bytes=10**6,
        written={},
        rolled_back=1,
    )
    watched.say(text(ill))
    assert {name for name, rule in ALERTS.items() if watched.ask(rule["expr"])} == set(ALERTS) - {"SightglassSilent"}
    watched.say(silent())
    assert {name for name, rule in ALERTS.items() if watched.ask(rule["expr"])} == {"SightglassSilent"}


SOUND = {
    "sightglass_up": "1x60",
    f'node_textfile_mtime_seconds{{file="{WRITTEN}"}}': "0+60x60",
    'node_textfile_mtime_seconds{file="/var/lib/prometheus/node-exporter/apt.prom"}': "0x60",
    "sightglass_receipts_rolled_back": "0x60",
    "sightglass_window_deadline_timestamp_seconds": "3600x60",
    "sightglass_vpn_key_expiry_timestamp_seconds": "7776000x60",
    "sightglass_vpn_up": "1x60",
    "sightglass_receipts_free_bytes": "1000000000x60",
}
"""An hour of a gateway that is well, a value each minute; another file beside its own is renewed by hand alone."""


@pytest.mark.parametrize(
    ("alert", "figure", "values", "quiet", "fires", "value"),
    [
        ("SightglassSilent", "sightglass_up", "0x60", 4, 5, ""),
        ("SightglassSilent", f'node_textfile_mtime_seconds{{file="{WRITTEN}"}}', "0x60", 10, 11, ""),
        ("SightglassRecordRolledBack", "sightglass_receipts_rolled_back", "0 0 1x60", 1, 2, ""),
        ("SightglassWindowOverdue", "sightglass_window_deadline_timestamp_seconds", "0x60", 2, 3, ""),
        (
            "SightglassVpnKeyExpires",
            "sightglass_vpn_key_expiry_timestamp_seconds",
            "1209720x60",
            2,
            3,
            "13d 23h 59m 0s",
        ),
        ("SightglassVpnDown", "sightglass_vpn_up", "0x60", 14, 15, ""),
        ("SightglassRecordFull", "sightglass_receipts_free_bytes", "1000000x60", 14, 15, "976.6ki"),
    ],
)
def test_each_alert_fires_in_time_and_alone(
    programs: Path, tmp_path: Path, alert: str, figure: str, values: str, quiet: int, fires: int, value: str
) -> None:
    """A minute earlier it does not, and an hour of a gateway that is well sets off none."""
    (labels,) = re.findall(r"{(.*)}", figure) or [""]
    expected = fired(alert, value, dict(re.findall(r'(\w+)="(.*?)"', labels)))
    ill = {**SOUND, figure: values}
    promtool(programs, tmp_path, SOUND, {minute: {} for minute in range(0, 60, 5)})
    promtool(programs, tmp_path, ill, {quiet: {}, fires: {alert: expected}})
    with pytest.raises(AssertionError, match="FAILED"):
        promtool(programs, tmp_path, ill, {fires: {}})


def fired(alert: str, value: str, labels: dict[str, str]) -> dict[str, Any]:
    """An alert as Prometheus sends it."""
    rule = ALERTS[alert]
    words = {
        name: re.sub(r"{{ \$value .*? }}", value, text.replace("{{ $labels.instance }}", "gw1"))
        for name, text in rule["annotations"].items()
    }
    return {"exp_labels": {**rule["labels"], "instance": "gw1", **labels}, "exp_annotations": words}


def promtool(programs: Path, folder: Path, figures: dict[str, str], expected: dict[int, dict[str, Any]]) -> None:
    """Prometheus' own trial of the rules: by minute, the alerts that are sent and no other."""
    series = [
        {
            "series": name.replace("{", '{instance="gw1",') if "{" in name else f'{name}{{instance="gw1"}}',
            "values": said,
        }
        for name, said in figures.items()
    ]
    trials = [
        {"eval_time": f"{minute}m", "alertname": name, "exp_alerts": [sent[name]] if name in sent else []}
        for minute, sent in expected.items()
        for name in ALERTS
    ]
    file = folder / "alerts_test.yml"
    document = {
        "rule_files": [str(FOLDER / "alerts.yml")],
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": series, "alert_rule_test": trials}],
    }
    file.write_text(yaml.safe_dump(document))
    command = [str(programs / "promtool"), "test", "rules", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_role_takes_no_file_that_the_alerts_do_not_know() -> None:
    """Nor a pause that is longer than what they take for an end."""
    role = yaml.safe_load((FOLDER.parent / "roles" / "sightglass_metrics" / "vars" / "main.yml").read_text())
    (taken,) = re.findall(r"file is match\('(.*?)'\)", role["__sightglass_metrics_faults"])
    (known,) = re.findall(r'file=~"(.*?)"', ALERTS["SightglassSilent"]["expr"])
    for file, both in (
        (WRITTEN, True),
        ("/sightglass.prom", True),
        ("/a/gw1.prom", False),
        ("/a/sightglassXprom", False),
    ):
        assert (re.fullmatch(taken, file) is not None) is both
        assert (re.fullmatch(known.replace("\\\\", "\\"), file) is not None) is both
    (longest,) = re.findall(r"every_s \| int <= (\d+)", role["__sightglass_metrics_faults"])
    assert f"> {longest}" in ALERTS["SightglassSilent"]["expr"]


def test_promtool_takes_the_alerts_and_the_figures(programs: Path) -> None:
    """Prometheus' own check; a figure without help, or named against the rules, would be named here."""
    for words, given in ((["rules", str(FOLDER / "alerts.yml")], None), (["metrics"], text(FIGURES))):
        command = [str(programs / "promtool"), "check", *words]
        done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=30, check=False)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
    command = [str(programs / "promtool"), "check", "metrics"]
    bad = subprocess.run(command, input="Bad_name 1\n", capture_output=True, text=True, timeout=30, check=False)
    assert bad.returncode != 0, "the control"


def test_each_alert_names_its_gateway_and_what_to_do() -> None:
    """For whoever is woken by it."""
    for rule in ALERTS.values():
        assert "{{ $labels.instance }}" in rule["annotations"]["summary"]
        assert rule["annotations"]["description"]


def test_grafana_s_models_know_every_field_of_the_board() -> None:
    """What they do not know Grafana drops."""
    known = json.loads(json.dumps(Dashboard.from_json(BOARD), cls=JSONEncoder))
    assert lost(BOARD, known) == []
    assert lost({**BOARD, "titel": "misspelt"}, known) == ["/titel"], "the control"


def test_the_board_s_panels_neither_overlap_nor_repeat_an_id() -> None:
    """Grafana moves them otherwise."""
    panels = BOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for at in (panel["gridPos"] for panel in panels)
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert {name for expression in ASKED.values() for name in re.findall(r"\$\w+", expression)} == set(VARIABLES)


def lost(ours: Any, known: Any, at: str = "") -> list[str]:
    """Where something of ours is not in what is known."""
    if isinstance(ours, dict) and isinstance(known, dict):
        return [path for key in ours for path in lost(ours[key], known.get(key), f"{at}/{key}")]
    if isinstance(ours, list) and isinstance(known, list) and len(ours) == len(known):
        return [path for n, one in enumerate(ours) for path in lost(one, known[n], f"{at}/{n}")]
    return [] if ours == known else [at]
