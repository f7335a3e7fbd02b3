from __future__ import annotations

import logging
import socket
from pathlib import Path

import pytest

from kepler_train.contract.errors import SourceError
from kepler_train.extract import connection, plan, step
from tests.prometheus_server import PrometheusServer
from tests.unit.extract import fault_proxy as fault
from tests.unit.extract.cluster import Cluster, asked, recorded, rows_of
from tests.unit.extract.fault_proxy import Respond, proxy

pytestmark = [pytest.mark.prometheus, pytest.mark.usefixtures("clean_environment", "quick")]

Span = tuple[str, str]
TOO_MANY = "query processing would load too many samples into memory in query execution"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faults are waited out in no time, and requests are small, so that many meet a fault."""
    monkeypatch.setattr(connection, "_BACKOFF_SECONDS", 0.01)
    monkeypatch.setattr(connection, "READ_SECONDS", 1.0)
    monkeypatch.setattr(plan, "FIRST_MILLISECONDS", 60_000)
    monkeypatch.setattr(plan, "MOST_SAMPLES", 50)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, object]]]:
    """The rows that there are."""
    folder = tmp_path_factory.mktemp("stored")
    step.run(recorded(Cluster().write(folder / "recording.json")), folder / "out")
    return rows_of(folder / "out")


@pytest.mark.parametrize(
    "faults",
    [
        [fault.error(500, "internal", "oops")] * 3,
        [fault.status(502, b"<html>bad gateway</html>")] * 3,
        [fault.error(503, "unavailable", "starting")] * 6,
        [fault.status(429, b"", Retry_After="0")] * 3,
        [fault.hang_up] * 3,
        [fault.cut(0.3), fault.cut(0.95), fault.cut(0.999)],
        [fault.cut_cleanly(0.3), fault.cut_cleanly(0.95), fault.cut_cleanly(0.999)],
        [fault.error(422, "execution", TOO_MANY)] * 3,
        [fault.error(503, "timeout", "query timed out in query execution")] * 3,
        [fault.status(504, b"<html>gateway timeout")] * 3,
        [fault.slow(1.3)] * 2,
        [fault.stall(1.3)] * 2,
        [fault.hang_up, fault.error(422, "execution", TOO_MANY), fault.cut(0.5), fault.status(503)],
    ],
    ids=["500", "502", "503", "429", "hang-up", "cut", "cut-clean", "422", "timeout", "504", "slow", "stall", "mixed"],
)
def test_a_passing_fault_neither_loses_nor_doubles_a_sample(
    faults: list[Respond], served_cluster: PrometheusServer, cluster_window: Span, stored: object, tmp_path: Path
) -> None:
    with proxy(served_cluster.url, *faults, metric="pod_energy_stat") as spoiled:
        step.run(asked(spoiled.url, *cluster_window), tmp_path)
        assert not spoiled.faults
    assert rows_of(tmp_path) == stored


@pytest.mark.parametrize(
    ("respond", "said"),
    [
        (fault.error(500, "internal", "disk broke"), r"answered 500 \(disk broke\); tried 7 times in \d+ s; look into"),
        (fault.status(403, b"no"), r"answered 403 \(no\): it does not take these credentials"),
        (fault.error(400, "bad_data", "invalid parameter"), r"answered 400 \(invalid parameter\)"),
        (fault.status(404, b"<html>not here"), r"answered 404 .*is this the address of a Prometheus"),
        (fault.status(200, b"<html>please log in"), r"answered what is no JSON \(it begins with '<html>please"),
        (fault.status(200, b""), r"answered what is no JSON"),
        (fault.status(200, b" " * (2 << 20)), r"answered without samples: no series .*; is this its address"),
        (fault.status(200, b'{"status":"success"'), r"cut its answer short; tried 7 times"),
        (fault.status(200, b'{"status":"success","data":{"resultType":"vector","result":[]}}'), "a vector instead"),
        (fault.status(200, b'{"message":"hello"}'), r"JSON, but not as a Prometheus does: .*; is it one\?$"),
        (fault.status(404, b'{"error":"caf\xe9"}'), r"answered 404 .*is this the address of a Prometheus"),
        (fault.status(200, b'{"status":"caf\xe9"}'), r"JSON, but not as a Prometheus does: .*; is it one\?$"),
        (fault.status(200, b"[]"), r"JSON, but not as a Prometheus does: .*; is it one\?$"),
        (fault.status(200, b"\x1f\x8b\x08\x00"), "packed by gzip, unasked; is there a proxy in between"),
        (fault.status(200, b'{"status":"error","errorType":"x","error":"half of the stores are away"}'), "half of the"),
        (
            fault.status(200, b'{"status":"success","data":{"resultType":"matrix","result":[{"metric":3}]}}'),
            "JSON that holds no samples",
        ),
        (fault.hang_up, r"cannot be reached .*tried 7 times in \d+ s; is the address right"),
        (fault.slow(1.3), r"no answer within 1\.0 s"),
        (
            fault.error(503, "timeout", "query timed out"),
            r"answered 503 \(query timed out\) to .* s of pod_energy_stat",
        ),
    ],
    ids=[
        "500",
        "403",
        "400",
        "404",
        "html",
        "empty",
        "blank",
        "cut",
        "vector",
        "other-service",
        "latin-1-error",
        "latin-1",
        "list",
        "gzip",
        "error",
        "no-samples",
        "hang-up",
        "slow",
        "timeout",
    ],
)
def test_a_lasting_fault_is_an_error_that_says_what_to_do(
    respond: Respond, said: str, served_cluster: PrometheusServer, cluster_window: Span, tmp_path: Path
) -> None:
    with (
        proxy(served_cluster.url, *[respond] * 100, metric="pod_energy_stat") as spoiled,
        pytest.raises(SourceError, match=said) as error,
    ):
        step.run(asked(spoiled.url, *cluster_window), tmp_path)
    assert spoiled.url in str(error.value)
    assert not (tmp_path / "window.json").exists()


def test_a_server_that_is_not_there_is_said_so_soon(cluster_window: Span, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(SourceError, match=r"cannot be reached \(.*Connection refused\); tried 3 times") as error:
            step.run(asked(url, *cluster_window), tmp_path)
    assert error.value.__cause__ is not None


@pytest.mark.parametrize(
    "passing",
    [
        fault.error(500, "internal", "oops"),
        fault.status(502, b"<html>bad gateway</html>"),
        fault.status(429, b"", Retry_After="0"),
        fault.hang_up,
        fault.cut(0.5),
        fault.cut_cleanly(0.5),
        fault.stall(1.3),
    ],
    ids=["500", "502", "429", "hang-up", "cut", "cut-clean", "stall"],
)
def test_a_passing_fault_of_discovery_loses_no_node(
    passing: Respond, served_cluster: PrometheusServer, cluster_window: Span, stored: object, tmp_path: Path
) -> None:
    with proxy(served_cluster.url, passing, passing, everything=True) as spoiled:
        step.run(asked(spoiled.url, *cluster_window), tmp_path)
        assert not spoiled.faults
    assert rows_of(tmp_path) == stored


@pytest.mark.parametrize(
    ("respond", "said"),
    [
        (fault.error(500, "internal", "disk broke"), r"answered 500 \(disk broke\); tried 3 times in \d+ s; look into"),
        (fault.status(403, b"no"), r"answered 403 \(no\): it does not take these credentials"),
        (fault.error(422, "execution", TOO_MANY), "answered 422 .* when asked for its nodes; ask for a shorter window"),
        (fault.slow(1.3), r"no answer within 1\.0 s when asked for its nodes"),
        (fault.status(204), "answered 204 .*is this the address of a Prometheus"),
        (fault.status(200, b"<html>please log in"), r"no JSON \(it begins with '<html>please log in'\)"),
        (fault.status(200, b""), "answered what is no JSON"),
        (fault.status(200, b'{"status":"success","data":["a"'), "cut its answer short; tried 3 times"),
        (fault.status(200, b'{"message":"hello"}'), "JSON, but not as a Prometheus does: .*`status`; is it one"),
        (fault.status(200, b"[]"), "JSON, but not as a Prometheus does: .*; is it one"),
        (fault.status(200, b'{"status":"success","data":[1]}'), "JSON, but not as a Prometheus does: .*; is it one"),
        (fault.status(200, b'{"status":"ok"}'), "answered with the status 'ok'; is there something in between"),
        (fault.status(200, b'{"status":"error","error":"half of the stores are away"}'), "half of the stores"),
        (fault.status(200, b"\x1f\x8b\x08\x00"), "packed by gzip, unasked; is there a proxy in between"),
    ],
    ids=[
        "500",
        "403",
        "422",
        "slow",
        "204",
        "html",
        "empty",
        "cut",
        "other-service",
        "list",
        "numbers",
        "status",
        "error",
        "gzip",
    ],
)
def test_a_lasting_fault_of_discovery_is_an_error_that_says_what_to_do(
    respond: Respond, said: str, served_cluster: PrometheusServer, cluster_window: Span, tmp_path: Path
) -> None:
    with (
        proxy(served_cluster.url, *[respond] * 10, everything=True) as spoiled,
        pytest.raises(SourceError, match=said) as error,
    ):
        step.run(asked(spoiled.url, *cluster_window), tmp_path)
    assert spoiled.url in str(error.value)


def test_a_prometheus_that_is_redirected_to_is_asked(
    served_cluster: PrometheusServer, cluster_window: Span, stored: object, tmp_path: Path
) -> None:
    def elsewhere(exchange: fault.Exchange) -> None:
        exchange.send(302, b"moved", {"Location": served_cluster.url + exchange.path})

    with proxy(served_cluster.url, elsewhere, everything=True) as moved:
        step.run(asked(moved.url, *cluster_window), tmp_path)
    assert rows_of(tmp_path) == stored


def test_tls_where_there_is_none_is_not_said_to_be_a_certificate(
    served_cluster: PrometheusServer, cluster_window: Span, tmp_path: Path
) -> None:
    url = served_cluster.url.replace("http:", "https:")
    with pytest.raises(SourceError, match=r"does not speak TLS as it should: .*; is its address http://"):
        step.run(asked(url, *cluster_window), tmp_path)


def test_a_bearer_token_goes_with_every_request_and_into_no_message(
    served_cluster: PrometheusServer,
    cluster_window: Span,
    tmp_path: Path,
    clean_environment: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    clean_environment.setenv("PROMETHEUS_BEARER_TOKEN", "hunter2")
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login other password other\n")
    netrc.chmod(0o600)
    clean_environment.setenv("NETRC", str(netrc))
    with proxy(served_cluster.url, fault.status(503), metric="pod_energy_stat") as spoiled:
        step.run(asked(spoiled.url, *cluster_window), tmp_path / "out")
        assert {headers["Authorization"] for _, _, headers in spoiled.seen} == {"Bearer hunter2"}
    assert "503" in caplog.text
    assert "hunter2" not in caplog.text


def test_warnings_that_follow_the_samples_are_told(
    served_cluster: PrometheusServer, cluster_window: Span, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def warn(exchange: fault.Exchange) -> None:
        content = exchange.upstream().content.rstrip()
        exchange.send(200, content[:-1] + b',"warnings":["store b is away"]}')

    with proxy(served_cluster.url, warn, warn, metric="node_energy_stat") as spoiled:
        step.run(asked(spoiled.url, *cluster_window), tmp_path)
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        "Prometheus says: store b is away"
    ]
