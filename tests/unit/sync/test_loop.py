"""The sidecar as Kubernetes meets it: a process of its own, its endpoint, its lines, its end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from datetime import datetime, timedelta, timezone
from functools import partial
from xml.etree.ElementTree import ParseError

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from kepler_train.cli import main
from kepler_train.contract.errors import NothingServed, NotWritable, WrongUsage
from kepler_train.contract.models import flat_name, version_key
from kepler_train.store import open_store
from kepler_train.sync import loop
from kepler_train.sync.health import listen
from kepler_train.sync.loop import Status
from kepler_train.sync.models_folder import CURRENT, find_current, sync
from tests.unit.publish.candidates import GROUP, NAME, publish

FLAT = flat_name(GROUP, NAME)
PATIENCE_SECONDS = 60


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def metrics(port: int) -> dict[str, dict[tuple[str, ...], float]]:
    """Metric to label values, in the order of the labels' names, to value."""
    families = text_string_to_metric_families(get(port, "/metrics")[1])
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for sample in (sample for family in families for sample in family.samples):
        found.setdefault(sample.name.removeprefix("kepler_train_sync_"), {})[
            tuple(dict(sorted(sample.labels.items())).values())
        ] = sample.value
    return found


def wait_until(condition) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.05)


class Sidecar:
    """`kepler-train sync --every 1s` in a process."""

    def __init__(self, store: str, into) -> None:
        words = ["sync", "--store", store, "--into", str(into), "--every", "1s", "--listen", "127.0.0.1:0"]
        self.log = into.with_name("log")
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", "import sys; from kepler_train.cli import main; sys.exit(main())", *words],
                stderr=log,
                env={**os.environ, "TMPDIR": str(into / "nowhere")},
            )

    def __enter__(self):
        wait_until(lambda: "port=" in self.log.read_text())
        self.port = int(re.search(r" port=(\d+)$", self.log.read_text(), re.MULTILINE)[1])
        assert get(self.port, "/healthz") == (200, "alive\n")
        return self

    def end(self) -> list[str]:
        """End it as Kubernetes does; returns the lines it logged."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(PATIENCE_SECONDS) == 0
        return self.log.read_text().splitlines()

    def __exit__(self, *_) -> None:
        self.process.kill()
        self.process.wait()


@pytest.mark.slow
def test_a_sidecar_takes_up_what_is_published_lives_through_faults_and_ends_when_told(tmp_path):
    address, into = str(tmp_path / "store"), tmp_path / "models"
    into.mkdir()
    with Sidecar(address, into) as sidecar:
        wait_until(lambda: metrics(sidecar.port)["failures_total"][("NothingServed",)] > 0)
        code, text = get(sidecar.port, "/readyz")
        assert code == 503
        assert "serves no model" in text

        first = publish(tmp_path, address, "1").version
        wait_until(lambda: get(sidecar.port, "/readyz")[0] == 200)
        assert metrics(sidecar.port).get("model_info") == {(FLAT, first): 1}

        second = publish(tmp_path, address, "2", champion=first).version
        wait_until(lambda: metrics(sidecar.port).get("model_info") == {(FLAT, second): 1})

        third = publish(tmp_path, address, "3", champion=second).version
        key = version_key(GROUP, NAME, third, "model.sav")
        stored = open_store(address).objects.get(key).content
        open_store(address).objects.delete(key)
        (into / CURRENT / FLAT / "model.sav").write_bytes(b"altered here")  # so that it is fetched, once more perhaps
        wait_until(lambda: metrics(sidecar.port)["failures_total"][("DamagedModel",)] > 0)
        open_store(address).objects.put_if(key, stored, None)
        wait_until(lambda: metrics(sidecar.port).get("model_info") == {(FLAT, third): 1})

        assert get(sidecar.port, "/else")[0] == 404
        lines = sidecar.end()
    assert all(line.startswith("time=2") and " level=" in line for line in lines), lines
    assert any('message="new set in use"' in line and "models=1" in line for line in lines)
    assert any("kind=DamagedModel" in line and "model.sav" in line and "retry_seconds=" in line for line in lines)
    assert find_current(into).models == {FLAT: third}
    assert not list((into / ".sets").glob(".new.*"))


@pytest.fixture
def folder(tmp_path):
    """An estimator's folder that holds the served set, and its store."""
    publish(tmp_path, str(tmp_path / "store"))
    sync(open_store(str(tmp_path / "store")), "d351cbf", tmp_path / "models")
    return tmp_path / "models"


@pytest.mark.parametrize("off", [timedelta(days=1), timedelta(days=-1)])
def test_a_clock_that_is_off_by_a_day_makes_no_negative_age(folder, off):
    current = msgspec.structs.replace(find_current(folder), made=datetime.now(timezone.utc) + off)
    status = Status(current)
    status.succeed(current)
    port = listen("127.0.0.1:0", status)
    found = metrics(port)
    oldest = 86400 if off < timedelta(0) else 0
    assert oldest <= found["set_age_seconds"][()] < oldest + PATIENCE_SECONDS
    assert 0 <= found["seconds_since_success"][()] < PATIENCE_SECONDS
    assert found["set_info"] == {("d351cbf", "current", current.version): 1}


class _Enough(BaseException):
    pass


def test_a_folder_that_cannot_be_written_at_the_start_does_not_keep_a_sidecar_from_staying(tmp_path, monkeypatch):
    def stay(sync_once, *_):
        with pytest.raises(NotWritable):
            sync_once()
        (tmp_path / "disk").unlink()
        with pytest.raises(NothingServed):
            sync_once()

    monkeypatch.setattr("kepler_train.cli.sync._stay", stay)
    (tmp_path / "disk").write_text("")
    into = tmp_path / "disk" / "models"
    assert main(["sync", "--every", "1s", "--store", str(tmp_path / "store"), "--into", str(into)]) == 0
    assert (into / CURRENT).is_symlink()


def test_failures_are_tried_again_sooner_and_ever_later_up_to_the_interval(folder, tmp_path, monkeypatch):
    waits = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            (tmp_path / "store").rename(tmp_path / "away")
        if len(waits) == 9:
            (tmp_path / "away").rename(tmp_path / "store")
        if len(waits) == 11:
            raise _Enough

    monkeypatch.setattr(loop.time, "sleep", sleep)
    monkeypatch.setattr(loop.random, "uniform", lambda low, high: (low + high) / 2)
    status = Status(find_current(folder))
    with pytest.raises(_Enough):
        loop.sync_forever(partial(sync, open_store(str(tmp_path / "store")), "d351cbf", folder), folder, 60, status)
    assert waits == [60, 60, 60, 5, 10, 20, 40, 60, 60, 60, 60]
    assert status.failures.total() == 6
    assert status.problem == ""
    assert status.current == find_current(folder)


def test_an_error_that_nobody_foresaw_is_counted_told_without_its_text_and_tried_again(folder, monkeypatch, caplog):
    current = find_current(folder)
    errors = iter([ParseError("http://store/?X-Amz-Signature=secret"), RuntimeError("secret"), MemoryError()])

    def sync_once():
        if (error := next(errors, None)) is not None:
            raise error
        return current

    waits = []
    monkeypatch.setattr(loop.time, "sleep", waits.append)
    status = Status(current)
    monkeypatch.setattr(status, "succeed", lambda _: sys.exit("tried again"))
    with caplog.at_level("WARNING"), pytest.raises(SystemExit, match="tried again"):
        loop.sync_forever(sync_once, folder, 60, status)
    assert len(waits) == 3
    assert {kind: count for kind, count in status.failures.items() if count} == {
        "ParseError": 1,
        "RuntimeError": 1,
        "MemoryError": 1,
    }
    assert status.current == current
    told = [record.fields["error"] for record in caplog.records]
    assert [line.partition(" ")[0] for line in told] == ["ParseError", "RuntimeError", "MemoryError"]
    assert all(re.search(r"at loop:\d+ > test_loop:\d+, .* tried again", line) for line in told)
    assert "secret" not in caplog.text + "".join(told) + status.problem


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_who_is_told_to_end_ends(folder, error):
    def sync_once():
        raise error

    with pytest.raises(error):
        loop.sync_forever(sync_once, folder, 60, Status(None))


@pytest.mark.parametrize("address", ["8081", ":x", ":99999", "no.such.host.invalid:0"])
def test_an_address_that_cannot_be_listened_on_is_refused(folder, address):
    with pytest.raises(WrongUsage, match="cannot listen on"):
        listen(address, Status(None))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--listen", ":0"], "add --every 60s"),
        (["--every", "60"], "write it as 60s, 5m or 1h"),
        (["--every", "0s"], "write it as 60s, 5m or 1h"),
        (["--dialect", "v2"], "'v2'; there is d351cbf"),
        (["--runtime", "v2"], "no runtime is called 'v2'"),
    ],
)
def test_a_wrong_command_line_is_told_before_anything_is_made(tmp_path, monkeypatch, capsys, words, told):
    monkeypatch.chdir(tmp_path)
    assert main(["sync", "--into", "models", *words]) == 2
    assert told in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_where_nothing_could_be_brought_once_says_so(folder, tmp_path, capsys):
    (tmp_path / "store").rename(tmp_path / "away")
    before = find_current(folder)
    assert main(["sync", "--once", "--store", str(tmp_path / "store"), "--into", str(folder)]) == 1
    assert "serves no model" in capsys.readouterr().err
    assert find_current(folder) == before
