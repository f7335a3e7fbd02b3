"""Production, an idle recording and a calibration as one window of a real Prometheus, and what each adds to the fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from msgspec.structs import replace

from kepler_train.assemble import step as assemble
from kepler_train.contract.evidence import IdleSource, SplitVerdict
from kepler_train.contract.features import FeatureGroup
from kepler_train.contract.models import Candidate
from kepler_train.contract.tables import POD_STAT
from kepler_train.contract.window import WindowSummary
from kepler_train.extract import resolve
from kepler_train.extract import step as extract
from kepler_train.simulate import step as simulate
from kepler_train.simulate.cluster import Cluster
from kepler_train.simulate.spec import Scenario, SimulationSpec
from kepler_train.train import step as train
from tests.prometheus_server import PrometheusServer

pytestmark = pytest.mark.prometheus

PRODUCTION = SimulationSpec(
    seed=2, nodes=2, pods_per_node=8, scenario=Scenario.ONE_VARIES, duration_seconds=1800.0, faults=False
)
IDLE = replace(PRODUCTION, scenario=Scenario.IDLE, start=PRODUCTION.start - timedelta(hours=2), duration_seconds=300.0)
CALIBRATION = replace(
    PRODUCTION, scenario=Scenario.CALIBRATION, start=PRODUCTION.start - timedelta(hours=1), duration_seconds=720.0
)
EARLIEST_FIRST = (IDLE, CALIBRATION, PRODUCTION)

Span = tuple[datetime, datetime]


def span_of(spec: SimulationSpec) -> Span:
    return spec.start, spec.start + timedelta(seconds=spec.duration_seconds)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> dict[SimulationSpec, Path]:
    """Each window's recordings, with its truth."""
    folders = {spec: tmp_path_factory.mktemp("recorded") for spec in EARLIEST_FIRST}
    for spec, folder in folders.items():
        simulate.run(spec, folder)
    return folders


@pytest.fixture(scope="module")
def prometheus(recorded: dict[SimulationSpec, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = PrometheusServer(tmp_path_factory.mktemp("prometheus") / "data")
    server.load_recordings(file for folder in recorded.values() for file in sorted(folder.glob("*.json.gz")))
    with server:
        yield server.url


def read(prometheus: str, spans: list[Span], out: Path) -> WindowSummary:
    start, end = ([f"{span[side]:%Y-%m-%dT%H:%M:%SZ}" for span in spans] for side in (0, 1))
    window = resolve.run(prometheus_url=prometheus, start=start, end=end, now=PRODUCTION.start)
    return extract.run(window, out)


@pytest.fixture(scope="module")
def trained(prometheus: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Candidate]:
    """Trains on some windows, from the Prometheus to the candidate."""
    found: dict[tuple[SimulationSpec, ...], Candidate] = {}

    def on(*specs: SimulationSpec) -> Candidate:
        if specs not in found:
            folder = tmp_path_factory.mktemp("run")
            read(prometheus, [span_of(spec) for spec in specs], folder / "window")
            assemble.run([folder / "window"], FeatureGroup.COUNTER_ONLY, folder / "training", folder / "held_out")
            found[specs] = train.run(folder / "training", "CounterOnly/concave", folder / "candidate")
        return found[specs]

    return on


def idle_errors(candidate: Candidate) -> list[float]:
    return [abs(candidate.idle_of(node.name) / node.idle_millijoules - 1) for node in Cluster(PRODUCTION).nodes]


def test_spans_that_overlap_or_touch_are_read_once(
    recorded: dict[SimulationSpec, Path], prometheus: str, tmp_path: Path
) -> None:
    first, last = span_of(PRODUCTION)
    minutes = [first + timedelta(minutes=minute) for minute in (0, 10, 12, 25, 25)]
    spans = [*zip(minutes, [minutes[2], minutes[3], minutes[2] + timedelta(minutes=1), last, last], strict=True)]
    summary = read(prometheus, [*spans, span_of(IDLE)], tmp_path / "window")

    assert [span.end for span in summary.spans] == [span_of(IDLE)[1], last]
    truth = [file for spec in (IDLE, PRODUCTION) for file in (recorded[spec] / "truth").glob("*.parquet")]
    assert summary.rows[POD_STAT] == sum(pq.read_metadata(file).num_rows for file in truth)
    assert not summary.set_apart.get(POD_STAT)


def test_an_idle_recording_given_as_a_further_window_pins_idle(trained: Callable[..., Candidate]) -> None:
    alone, pinned = trained(PRODUCTION), trained(PRODUCTION, IDLE)

    assert {evidence.source for evidence in alone.idle_evidence.values()} == {IdleSource.EXTRAPOLATED}
    assert {evidence.source for evidence in pinned.idle_evidence.values()} == {IdleSource.FURTHER}
    assert max(idle_errors(pinned)) < 0.12
    assert max(idle_errors(alone)) > 1.5 * max(idle_errors(pinned))
    for node in Cluster(PRODUCTION).nodes:
        for candidate in (alone, pinned):
            evidence = candidate.idle_evidence[node.name]
            assert evidence.low_millijoules <= node.idle_millijoules <= evidence.high_millijoules


def test_several_recordings_are_one_window_too(recorded: dict[SimulationSpec, Path], tmp_path: Path) -> None:
    files = [str(file) for spec in (PRODUCTION, IDLE) for file in sorted(recorded[spec].glob("*.json.gz"))]
    extract.run(resolve.run(recordings=files, now=PRODUCTION.start), tmp_path / "window")
    assemble.run([tmp_path / "window"], FeatureGroup.COUNTER_ONLY, tmp_path / "training", tmp_path / "held_out")
    candidate = train.run(tmp_path / "training", "CounterOnly/concave", tmp_path / "candidate")

    assert {evidence.source for evidence in candidate.idle_evidence.values()} == {IdleSource.FURTHER}
    assert max(idle_errors(candidate)) < 0.12


def test_a_calibration_given_as_a_further_window_determines_the_split(trained: Callable[..., Candidate]) -> None:
    alone, calibrated = trained(PRODUCTION), trained(PRODUCTION, CALIBRATION)

    assert alone.split_evidence
    assert calibrated.split_evidence
    assert alone.split_evidence.verdict is not SplitVerdict.DETERMINED
    assert calibrated.split_evidence.verdict is SplitVerdict.DETERMINED
    assert calibrated.split_evidence.condition < 0.7 * alone.split_evidence.condition
