"""The same graph run from Python: against a champion, and where a step fails at once."""

from __future__ import annotations

import builtins
import io
import logging
import re

import msgspec
import pytest

from kepler_train.contract.errors import NoInterpreter
from kepler_train.contract.features import FeatureGroup
from kepler_train.contract.models import PROVENANCE_FILE
from kepler_train.contract.runtimes import RUNTIMES
from kepler_train.publish.serving import serve_new
from kepler_train.store import open_store
from kepler_workflow.local import run_locally
from tests.conftest import missing
from tests.webhook_receiver import WebhookReceiver

CATALOGUE = {FeatureGroup.COUNTER_ONLY: ("linear",)}


@pytest.fixture
def run(tmp_path, simulated):
    """Run one pipeline over the simulated window, or what is given in its place; returns the outcome and the lines."""
    runs = iter(range(9))

    def run(*, canary=False, extract_tasks=1, **parameters):
        progress = io.StringIO()
        parameters = {"store": str(tmp_path / "models"), "recordings": list(map(str, simulated)), **parameters}
        folder, options = tmp_path / f"run-{next(runs)}", {"canary": canary, "extract_tasks": extract_tasks}
        outcome = run_locally(CATALOGUE, parameters, folder, progress, **options)
        return outcome, progress.getvalue().splitlines()

    return run


@pytest.fixture
def told(monkeypatch):
    """Receives what the exit handler tells."""
    with WebhookReceiver() as receiver:
        monkeypatch.setenv("KEPLER_TRAIN_WEBHOOK_URL", receiver.url)
        yield receiver


@pytest.mark.slow
def test_a_second_run_by_other_extractions_compares_the_same_model_with_the_first_ones_champion(
    run, tmp_path, capsys, told
):
    before = builtins.print, logging.getLogger().level, list(logging.getLogger().handlers)
    first, _ = run()
    second, lines = run(extract_tasks=4)  # of which two get no node
    champion = open_store(str(tmp_path / "models")).read_index().served(FeatureGroup.COUNTER_ONLY, "linear")

    assert first.succeeded
    assert first.decisions[0].improved
    assert second.succeeded
    assert second.decisions[0].champion_version == champion.version
    assert not second.decisions[0].improved
    assert not [line for line in lines if "publish" in line]
    assert lines[-1].startswith("[12/12] notify")
    check_same_window_and_model(first, second, lines)
    assert ["CounterOnly/linear first published" in told.posted[0]["text"], len(told.posted)] == [True, 2]
    assert told.posted[1]["text"].endswith(" succeeded: no model changed")
    # kfp.local changes printing and logging of the whole process; here nothing of that is seen or stays.
    assert capsys.readouterr().out == ""
    assert (builtins.print, logging.getLogger().level, list(logging.getLogger().handlers)) == before


@pytest.mark.slow
def test_a_champion_that_proves_worse_than_the_one_before_is_taken_back_by_the_next_run(run, tmp_path):
    store = open_store(str(tmp_path / "models"))
    run()
    group, name = FeatureGroup.COUNTER_ONLY, "linear"
    first = store.read_index().served(group, name).version
    worse = publish_worse(store, first, tmp_path)

    outcome, lines = run(canary=True)

    assert outcome.succeeded
    (decision,) = outcome.decisions
    assert decision.canary.worse
    assert (decision.canary.version, decision.canary.before, decision.champion_version) == (worse, first, first)
    served = store.read_index().served(group, name)
    assert served.version == first
    assert [taken.version for taken in served.taken_back] == [worse]
    assert sum("CounterOnly / linear: canary" in line for line in lines) == 1
    assert "1 former champion taken back" in outcome.report.read_text()


def check_same_window_and_model(of_one, of_four, lines):
    """Compare what came of a window that one task extracted, and of the same extracted by four."""
    extracts = {line.split("] ")[1].split("  ")[0] for line in lines if ": extract" in line}
    assert extracts == {f"nodes {number} of 4: extract" for number in (1, 2, 3, 4)}
    first, second = of_one.decisions[0], of_four.decisions[0]
    assert second.candidate == second.champion  # which is the model of the first run
    assert second.held_out == first.held_out
    assert [block.candidate_mape_percent for block in second.blocks] == [
        block.candidate_mape_percent for block in first.blocks
    ]
    meta = [re.search(r'<p class="meta">.*</p>', outcome.report.read_text())[0] for outcome in (of_one, of_four)]
    assert "2 nodes" in meta[0]
    assert meta[1] == meta[0]


def publish_worse(store, champion, folder):
    """Serve a version after the champion as a run would: the same model, whose nodes idle at twice the energy."""
    group, name = FeatureGroup.COUNTER_ONLY, "linear"
    before = store.fetch_version(group, name, champion, folder / "worse")
    (folder / "worse" / PROVENANCE_FILE).unlink()
    idle = {node: 2 * energy for node, energy in before.candidate.idle_millijoules.items()}
    provenance = msgspec.structs.replace(
        before,
        version="99991231T000000Z-worse",
        parent=champion,
        candidate=msgspec.structs.replace(before.candidate, idle_millijoules=idle),
    )
    store.add_version(folder / "worse", provenance)
    return serve_new(store, group, name, provenance.version, in_place_of=champion).version


@pytest.mark.slow
def test_a_run_for_another_runtime_makes_and_judges_models_there_and_binds_the_store(tmp_path, simulated, run):
    runtime = RUNTIMES["estimator-2022"]
    parameters = {"store": str(tmp_path / "models"), "recordings": list(map(str, simulated))}
    try:
        outcome = run_locally(CATALOGUE, parameters, tmp_path / "run", io.StringIO(), runtime)
    except NoInterpreter as cause:
        missing(str(cause))
    assert not outcome.failures
    assert outcome.decisions[0].improved
    store = open_store(str(tmp_path / "models"))
    index = store.read_index()
    served = index.served(FeatureGroup.COUNTER_ONLY, "linear")
    made = store.provenance_of(FeatureGroup.COUNTER_ONLY, "linear", served.version).provenance.candidate
    assert index.runtime == made.runtime_name == runtime.name
    assert made.runtime["python"].startswith("3.10.")
    assert made.runtime["sklearn"] == "1.0.2"

    other, _ = run()
    assert {failure.task for failure in other.failures} == {"CounterOnly / linear: evaluate"}
    assert "serves models of runtime estimator-2022, not current" in other.failures[0].message
    assert store.read_index() == index


def test_a_window_that_cannot_be_read_ends_the_run_at_once_with_its_own_words(run, tmp_path, told):
    (tmp_path / "broken.json").write_text('{"pod_energy_stat": [{"metric"')
    outcome, lines = run(recordings=[str(tmp_path / "broken.json")])
    (failure,) = outcome.failures
    assert failure.task == "extract"
    assert "broken.json" in failure.message
    assert "Traceback" not in failure.message
    assert "Traceback" in failure.log.read_text()
    assert [line.split()[1] for line in lines] == ["resolve", "extract", "notify"]
    assert outcome.report is None
    assert told.posted[0]["text"].endswith(" failed: no model changed")
    assert not (tmp_path / "models").exists()


@pytest.mark.slow
def test_a_store_that_takes_nothing_ends_the_run_with_its_own_words(run, tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "models").write_text("a file where versions would go")
    outcome, lines = run()
    (failure,) = outcome.failures
    assert failure.task == "CounterOnly / linear: publish"
    assert str(tmp_path / "models") in failure.message
    assert "Traceback" not in failure.message
    assert lines[-2].endswith("FAILED")
    assert "report" not in {line.split()[1] for line in lines}
