"""A folder of models, asked over the socket as an exporter asks: in a thread, as the gate does, and as a process."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import tempfile
import time

import numpy as np
import pytest

from kepler_train.contract.errors import NotLoadable
from kepler_train.estimators.folder_estimator import FolderEstimator, request_for
from kepler_train.estimators.unix_socket import ask, listening
from tests.unit.estimators.models import COUNTERS, Keeps, Predicts, linear, write_model

ROWS = np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0], [10.0, 0.0, 0.0]])


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    """An estimator that has ended is not waited for."""
    monkeypatch.setattr("kepler_train.estimators.unix_socket._TIMEOUT_SECONDS", 20.0)


@pytest.fixture
def asked(tmp_path):
    """Start an estimator with the folder as it is by now, and ask it once."""

    def asked(request, **options):
        with listening(FolderEstimator(tmp_path, **options)) as path:
            return ask(path, request)

    return asked


def test_the_best_model_that_has_its_features_answers_a_power_per_pod(tmp_path, asked):
    write_model(tmp_path / "worse", linear([7.0, 7.0, 7.0]), mae=2.0, mse=1.0)
    write_model(tmp_path / "best", linear([1.0, 10.0, 100.0]), mae=1.0, mse=2.0)
    write_model(tmp_path / "of-others", linear([1.0]), features=("curr_cpu_time",), mae=0.1)
    assert asked(request_for(COUNTERS, ROWS)) == pytest.approx([321.0, 0.0, 10.0])
    assert asked(request_for(COUNTERS[::-1], ROWS[:1, ::-1])) == pytest.approx([321.0])
    assert asked(request_for(COUNTERS, ROWS[:1]), error_keys=("mse",)) == pytest.approx([42.0])


def test_a_broken_model_is_chosen_by_its_metadata_and_silences_the_node(tmp_path, asked):
    write_model(tmp_path / "whole", linear([1.0, 10.0, 100.0]), mae=2.0)
    broken = write_model(tmp_path / "broken", linear([1.0, 10.0, 100.0]), mae=1.0)
    (broken / "scaler.pkl").write_bytes(b"")
    with pytest.raises(NotLoadable, match=r"cannot load .*broken/scaler\.pkl"):
        asked(request_for(COUNTERS, ROWS))


def test_a_model_that_is_not_found_under_its_name_silences_the_node_too(tmp_path, asked):
    write_model(tmp_path / "whole", linear([1.0, 10.0, 100.0]), mae=2.0)
    write_model(tmp_path / "moved", linear([1.0, 10.0, 100.0]), mae=1.0, model_name="other")
    with pytest.raises(NotLoadable, match="model_name 'other' is not the folder's name 'moved'"):
        asked(request_for(COUNTERS, ROWS))


def length_of_category(rows):
    return np.array([float(len(row[1])) for row in rows])


def test_a_category_keeps_its_spaces_wherever_a_request_is_cut(tmp_path, asked):
    features = ("curr_cpu_time", "cpu_architecture")
    write_model(tmp_path / "m", Predicts(length_of_category), scaler=Keeps(), features=features)
    rows = np.array([[float(count), "Sky Lake"] for count in range(1000)], dtype=object)
    assert asked(request_for(features, rows)) == [8.0] * 1000


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (b"{}", "has the keys metrics, values"),
        (b'{"metrics":["curr_cpu_time"],"values":[[1]],"output_type":"DynPower"}', "and no others but model_name"),
        (b'{"metrics":["curr_cpu_time"],"values":[[1]]}', "none of 1 models can do with curr_cpu_time"),
    ],
)
def test_a_request_that_fits_no_model_is_answered_without_powers(tmp_path, asked, request_, said):
    write_model(tmp_path / "m", linear([1.0, 10.0, 100.0]))
    with pytest.raises(NotLoadable, match=said):
        asked(request_)


MALFORMED = (
    (COUNTERS, [[1.0]], "do not fit its metrics"),
    (COUNTERS, [[1.0, 2.0, 3.0, 4.0]], "do not fit its metrics"),
    (COUNTERS, [1.0], "do not fit its metrics"),
    (COUNTERS, 5, "do not fit its metrics"),
    (COUNTERS, {"a": 1}, "an object within the object"),
    (COUNTERS, [[1.0, [2.0], 3.0]], "fails for 1 pod"),
    (COUNTERS, [[1.0, None, 3.0]], "fails for 1 pod"),
    (COUNTERS, [], "fails for 0 pods"),
    (5, [[1.0]], "no list of names"),
    (None, [[1.0, 2.0, 3.0]], "no list of names"),
    ([["curr_cache_miss"], *COUNTERS[1:]], [[1.0, 2.0, 3.0]], "no list of names"),
    ((*COUNTERS, COUNTERS[0]), [[1.0, 2.0, 3.0, 4.0]], "fails for 1 pod"),
)


def test_malformed_requests_are_answered_without_powers_and_end_nothing(tmp_path):
    write_model(tmp_path / "m", linear([1.0, 10.0, 100.0]))
    with listening(FolderEstimator(tmp_path)) as path:
        for metrics, values, said in MALFORMED:
            with pytest.raises(NotLoadable, match=said):
                ask(path, json.dumps({"metrics": metrics, "values": values}).encode())
        assert ask(path, request_for(COUNTERS, ROWS[:1])) == pytest.approx([321.0])


def test_who_leaves_before_the_answer_ends_nothing(tmp_path):
    write_model(tmp_path / "m", linear([1.0, 10.0, 100.0]))
    with listening(FolderEstimator(tmp_path)) as path:
        for request_ in (b"", b'{"metrics"', request_for(COUNTERS, np.tile(ROWS, (10_000, 1)))):
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(str(path))
                connection.sendall(request_)
        assert ask(path, request_for(COUNTERS, ROWS[:1])) == pytest.approx([321.0])


def stops(_rows):
    raise SystemExit


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_estimator_that_ends_is_told(tmp_path, asked):
    write_model(tmp_path / "m", Predicts(stops))
    with pytest.raises(NotLoadable, match="ended without an answer"):
        asked(request_for(COUNTERS, ROWS))


def test_one_connection_after_another_and_one_answer_each(tmp_path):
    write_model(tmp_path / "m", linear([1.0, 10.0, 100.0]))
    with listening(FolderEstimator(tmp_path)) as path:
        for _ in range(3):
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(str(path))
                for piece in (b'{"metrics": ' + json.dumps(COUNTERS).encode(), b', "values": [[1,2,3]]', b" }\n"):
                    connection.sendall(piece)
                answer = b"".join(iter(lambda open_=connection: open_.recv(1024), b""))
            assert json.loads(answer)["powers"] == pytest.approx([321.0])


def wait_until_it_listens(process, path):
    while process.poll() is None:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
            return connection.connect(str(path))
        time.sleep(0.02)
    raise AssertionError(process.returncode)


def test_as_a_process_it_answers_the_same(tmp_path):
    write_model(tmp_path / "models" / "m", linear([1.0, 10.0, 100.0]))
    path = tmp_path / "estimator.sock"
    command = [sys.executable, "-m", "kepler_train.estimators.unix_socket", str(path), str(tmp_path / "models")]
    with subprocess.Popen(command) as process:
        try:
            wait_until_it_listens(process, path)
            assert ask(path, request_for(COUNTERS, ROWS)) == pytest.approx([321.0, 0.0, 10.0])
        finally:
            process.terminate()


def test_a_long_temporary_folder_leaves_the_socket_a_short_path(tmp_path, monkeypatch):
    deep = tmp_path / ("deep" * 30)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with listening(FolderEstimator(tmp_path)) as path, socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))


def test_a_folder_with_which_the_estimator_would_not_start_starts_nothing(tmp_path):
    write_model(tmp_path / "models" / "m", linear([1.0, 10.0, 100.0]), mae="small")
    command = [sys.executable, "-m", "kepler_train.estimators.unix_socket", tmp_path / "socket", tmp_path / "models"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert "mae is 'small', no number" in ended.stderr
    assert "Traceback" not in ended.stderr
