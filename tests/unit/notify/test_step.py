"""What is told at a run's end, by receivers that really listen, and that nothing there can end a run red."""

from __future__ import annotations

import logging
from datetime import datetime, timezone

import pytest

from kepler_train.contract.features import FeatureGroup
from kepler_train.contract.runs import RunRecord
from kepler_train.notify import channels, step
from kepler_train.publish import serving
from kepler_train.store import open_store
from tests.alertmanager_server import AlertmanagerServer
from tests.unit.publish import candidates
from tests.webhook_receiver import WebhookReceiver

WEBHOOK, ALERTMANAGER = channels.CHANNELS


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(channels, "FIRST_PAUSE_SECONDS", 0.0)


@pytest.fixture
def store(tmp_path):
    """Served: a first model of night 1 and one that night 2 replaced, whose runs end in 1111 and 2222."""
    address = str(tmp_path / "models")
    candidates.publish(tmp_path / "candidates", address, "1", "steady")
    champion = candidates.publish(tmp_path / "candidates", address, "1", "eager")
    candidates.publish(tmp_path / "candidates", address, "2", "eager", champion.version)
    return address


def tell(store, environment, state="SUCCEEDED", night="2"):
    return step.run(
        state=state, name=f"night {night}", job_id=f"{4 * night}-bbfd", store=store, environment=environment
    )


def test_a_webhook_is_told_the_outcome_and_a_line_for_each_changed_model(store):
    index = open_store(store).read_index()
    version = index.served(FeatureGroup.COUNTER_ONLY, "eager").version
    reason = open_store(store).provenance_of(FeatureGroup.COUNTER_ONLY, "eager", version).provenance.decision.reason
    with WebhookReceiver() as receiver:
        assert tell(store, {WEBHOOK: receiver.url, step.RUNS_URL: "https://kubeflow/runs/"}) == ()
    assert receiver.posted == [
        {
            "text": "kepler-train run night 2 succeeded: 1 model changed\n"
            f"• CounterOnly/eager replaced: {reason}\n"
            "<https://kubeflow/runs/2222-bbfd|the run in Kubeflow>"
        }
    ]


def test_a_first_model_is_called_that_and_a_run_that_changed_nothing_says_so(store):
    with WebhookReceiver() as receiver:
        tell(store, {WEBHOOK: receiver.url}, night="1")
        tell(store, {WEBHOOK: receiver.url}, "FAILED", night="3")
    first, nothing = (posted["text"] for posted in receiver.posted)
    assert "• CounterOnly/steady first published: " in first
    assert nothing == "kepler-train run night 3 failed: no model changed"


def test_a_champion_that_the_run_took_back_is_named(store):
    index = open_store(store).read_index()
    worse = index.served(FeatureGroup.COUNTER_ONLY, "eager").version
    before = open_store(store).provenance_of(FeatureGroup.COUNTER_ONLY, "eager", worse).provenance.parent
    serving.serve_again(
        open_store(store), FeatureGroup.COUNTER_ONLY, "eager", before, worse, run_id="20261123T020000Z-3333"
    )
    with WebhookReceiver() as receiver:
        tell(store, {WEBHOOK: receiver.url}, night="3")
        tell(store, {WEBHOOK: receiver.url}, night="4")
    assert f"CounterOnly/eager taken back: {worse} proved worse" in receiver.posted[0]["text"]
    assert receiver.posted[1]["text"].endswith("no model changed")


def test_what_slack_would_read_as_markup_is_escaped():
    with WebhookReceiver() as receiver:
        channels.tell_webhook(receiver.url, channels.Ending(False, "a", "s", "", ("<!channel> & co",)))
    assert receiver.posted[0]["text"].endswith("• &lt;!channel&gt; &amp; co")


@pytest.mark.parametrize(
    ("state", "failed", "told"),
    [
        ("COMPLETE", None, "succeeded"),
        ("CACHED", None, "succeeded"),
        ("CANCELED", (), "failed"),
        ("FAILED", (), "failed"),
        ("RUNNING", (), "succeeded"),
        ("RUNNING", ("CounterOnly/eager",), "failed"),
        ("RUNNING", None, "failed"),
        ("", (), "succeeded"),
    ],
)
def test_where_the_engine_has_no_last_word_the_record_of_the_run_tells(store, state, failed, told):
    """None: the run was cut short before it kept one. Other runs' records do not count."""
    ended = datetime(2026, 11, 23, 3, tzinfo=timezone.utc)
    open_store(store).add_run(RunRecord(run_id="20261122T020000Z-1111", ended=ended))
    if failed is not None:
        open_store(store).add_run(RunRecord(run_id="20261123T020000Z-2222", ended=ended, failed=failed))
    with WebhookReceiver() as receiver:
        assert tell(store, {WEBHOOK: receiver.url}, state) == ()
    assert f"run night 2 {told}: 1 model changed" in receiver.posted[0]["text"]


def test_an_end_that_nobody_can_tell_is_told_as_a_failure(tmp_path):
    (tmp_path / "models").write_text("no folder")
    with WebhookReceiver() as receiver:
        unknown, _changes = tell(str(tmp_path / "models"), {WEBHOOK: receiver.url}, "RUNNING")
    assert "whether the run succeeded is not known" in unknown
    assert "run night 2 failed" in receiver.posted[0]["text"]


def test_an_alert_stands_until_a_later_run_of_that_store_succeeds(store, tmp_path):
    with AlertmanagerServer(tmp_path) as server:
        environment = {ALERTMANAGER: server.url + "/"}
        assert tell(store, environment, "FAILED", night="3") == ()
        failed = server.active()
        assert tell(store, environment, "SUCCEEDED") == ()
        succeeded = server.active()
    assert set(failed) == {"KeplerTrainRunFailed"}
    assert failed["KeplerTrainRunFailed"]["labels"]["store"] == store
    assert "night 3 failed" in failed["KeplerTrainRunFailed"]["annotations"]["summary"]
    assert set(succeeded) == {"KeplerTrainModelsChanged"}
    assert "CounterOnly/eager replaced" in succeeded["KeplerTrainModelsChanged"]["annotations"]["description"]


def test_a_busy_receiver_is_asked_again(store):
    with WebhookReceiver(statuses=[503, 429]) as receiver:
        assert tell(store, {WEBHOOK: receiver.url}) == ()
    assert len(receiver.posted) == 1


@pytest.mark.parametrize(
    ("statuses", "requests", "fact"), [([404], 1, "404 NOT FOUND"), ([302], 1, "302 FOUND"), ([500] * 9, 3, "500")]
)
def test_a_refusal_is_a_warning_without_the_address(store, caplog, statuses, requests, fact):
    with WebhookReceiver(statuses) as receiver:
        (problem,) = tell(store, {WEBHOOK: receiver.url})
    assert receiver.requests == requests
    assert problem.startswith(f"the run's end could not be told to {WEBHOOK}: 127.0.0.1 answers {fact}")
    assert [record.message for record in caplog.records if record.levelno == logging.WARNING] == [problem]
    assert "secret" not in caplog.text


@pytest.mark.parametrize("scheme", ["", "no-such-scheme:"])
def test_a_receiver_that_is_away_is_a_warning_and_others_are_told(store, caplog, scheme):
    caplog.set_level(logging.INFO)
    with WebhookReceiver() as gone:
        pass
    with WebhookReceiver() as receiver:
        (problem,) = tell(store, {WEBHOOK: scheme + gone.url, ALERTMANAGER: receiver.url})
    assert "does not answer" in problem
    assert "secret" not in caplog.text
    assert receiver.posted[0][0]["labels"]["alertname"] == "KeplerTrainRunFailed"


def test_a_store_that_is_away_keeps_nobody_from_the_outcome(tmp_path):
    (tmp_path / "models").write_text("no folder")
    with WebhookReceiver() as receiver:
        (problem,) = tell(str(tmp_path / "models"), {WEBHOOK: receiver.url}, "FAILED")
    assert "what the run changed is not told" in problem
    assert len(receiver.posted) == 1


def test_nobody_is_told_and_the_store_is_left_alone_where_no_address_is_given(tmp_path):
    assert tell(str(tmp_path / "nowhere" / "://"), {}) == ()
