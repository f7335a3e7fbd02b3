from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kepler_train.contract.errors import NoData, SourceError, WrongUsage
from kepler_train.contract.tables import FREQUENCY, NODE_STAT, PACKAGE, POD_STAT
from kepler_train.extract import plan, resolve, step
from tests.prometheus_server import STALE_MARKER, PrometheusServer, Series
from tests.unit.extract.cluster import NOW, START, Cluster, asked, recorded, rows_of

pytestmark = [pytest.mark.prometheus, pytest.mark.usefixtures("clean_environment")]

# The hash of "test"; Prometheus takes no password in clear.
BASIC_AUTH = "basic_auth_users:\n  reader: $2b$12$hNf2lSsxfm0.i4a.1kVpSOVyBCfIB51VRjgBUyv6kdnyTlgWj81Ay\n"

Span = tuple[str, str]


@pytest.fixture(scope="module")
def from_recording(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, object]]]:
    """The rows of the default cluster as its recording gives them."""
    folder = tmp_path_factory.mktemp("from-recording")
    step.run(recorded(Cluster().write(folder / "recording.json")), folder / "out")
    return rows_of(folder / "out")


def test_blocks_give_the_same_rows_as_the_recording(
    served_cluster: PrometheusServer, cluster_window: Span, from_recording: object, tmp_path: Path
) -> None:
    summary = step.run(asked(served_cluster.url, *cluster_window), tmp_path)
    assert rows_of(tmp_path) == from_recording
    assert summary.rows == {POD_STAT: 240, NODE_STAT: 80, FREQUENCY: 160, PACKAGE: 156}


def test_the_ranges_of_requests_do_not_change_the_rows(
    served_cluster: PrometheusServer,
    cluster_window: Span,
    from_recording: object,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ranges end on samples, beside them, and in between; a counter's predecessor lies in the range before."""
    monkeypatch.setattr(plan, "MOST_SAMPLES", 11)
    for range_ms in (10_000, 30_001, 59_999):
        monkeypatch.setattr(plan, "FIRST_MILLISECONDS", range_ms)
        step.run(asked(served_cluster.url, *cluster_window), tmp_path / str(range_ms))
        assert rows_of(tmp_path / str(range_ms)) == from_recording


def test_a_span_is_open_at_its_start_and_closed_at_its_end(served_cluster: PrometheusServer, tmp_path: Path) -> None:
    cluster = Cluster()
    start, end = cluster.moment(9), cluster.moment(19)
    clock = [
        time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{round(at % 1 * 1000):03}Z" for at in (start, end)
    ]
    step.run(asked(served_cluster.url, *clock), tmp_path)
    rows = rows_of(tmp_path)
    times = [row["timestamp"].timestamp() for row in rows[NODE_STAT] if row["node"] == "node-a"]
    assert times == [cluster.moment(interval) for interval in range(10, 20)]
    # The first difference of the span is taken from the sample that ends the interval before it.
    assert len(rows[PACKAGE]) == 2 * 2 * 10
    assert rows["set_apart"] == []


def test_staleness_markers_are_no_samples(from_recording: object, cluster_window: Span, tmp_path: Path) -> None:
    with PrometheusServer(tmp_path / "data") as server:
        server.remote_write(with_markers(Cluster()))
        step.run(asked(server.url, *cluster_window), tmp_path / "out")
    assert rows_of(tmp_path / "out") == from_recording


def with_markers(cluster: Cluster) -> Iterator[Series]:
    """The series of a cluster as a live server holds them: the next scrape marks each that it lacks as ended."""
    for series in cluster.series.values():
        for one in series:
            values = [(moment, float(value)) for moment, value in one["values"]]
            yield one["metric"], [*values, (values[-1][0] + 3, STALE_MARKER)]


@pytest.mark.recordings
def test_the_recordings_come_back_exactly(recordings: dict[str, Path], tmp_path: Path) -> None:
    files = [recordings["coremark"], recordings["short"]]
    step.run(recorded(*files), tmp_path / "recorded")
    server = PrometheusServer(tmp_path / "data")
    server.load_recordings(files)
    with server:
        starts, ends = ["2022-09-25T19:50", "2022-10-19T07:00"], ["2022-09-25T20:50", "2022-10-19T08:00"]
        step.run(resolve.run(prometheus_url=server.url, start=starts, end=ends, now=NOW), tmp_path / "served")
    assert rows_of(tmp_path / "served") == rows_of(tmp_path / "recorded")


def test_a_selector_chooses_among_exporters(cluster_window: Span, tmp_path: Path) -> None:
    both = [Cluster(intervals=5), Cluster(intervals=5, nodes=("node-a", "elsewhere"), job="other")]
    server = PrometheusServer(tmp_path / "data")
    server.load_recordings([one.write(tmp_path / f"{one.job}.json") for one in both])
    with server:
        with pytest.raises(SourceError, match="node-a is exported by two jobs"):
            step.run(asked(server.url, *cluster_window), tmp_path / "both")
        summary = step.run(asked(server.url, *cluster_window, selector='job="other"'), tmp_path / "one")
        assert summary.nodes == ("elsewhere", "node-a")
        assert summary.rows[POD_STAT] == 30
        with pytest.raises(NoData, match="no samples of pod_energy_stat"):
            step.run(asked(server.url, *cluster_window, selector='job="none"'), tmp_path / "none")


def test_an_empty_window_is_no_data_and_names_the_times(served_cluster: PrometheusServer, tmp_path: Path) -> None:
    window = asked(served_cluster.url, "2026-02-01T10:00", "2026-02-01T11:00")
    with pytest.raises(NoData) as error:
        step.run(window, tmp_path)
    assert str(error.value) == (
        "no samples of pod_energy_stat in 2026-02-01 10:00–11:00 UTC; is Kepler scraped by this Prometheus?"
    )


def test_a_missing_metric_is_named(cluster_window: Span, tmp_path: Path) -> None:
    cluster = Cluster(intervals=5)
    del cluster.series["node_cpu_scaling_frequency_hertz"]
    server = PrometheusServer(tmp_path / "data")
    server.load_recordings([cluster.write(tmp_path / "recording.json")])
    with server:
        summary = step.run(asked(server.url, *cluster_window), tmp_path / "out")
    assert summary.missing_metrics == ("node_cpu_scaling_frequency_hertz",)


def test_requests_over_the_limits_are_split_until_they_are_answered(
    cluster_window: Span, from_recording: object, tmp_path: Path
) -> None:
    server = PrometheusServer(tmp_path / "data", arguments=["--query.max-samples=60"])
    server.load_recordings([Cluster().write(tmp_path / "recording.json")])
    with server:
        summary = step.run(asked(server.url, *cluster_window), tmp_path / "out")
    assert rows_of(tmp_path / "out") == from_recording
    assert len(summary.nodes) == 2


def test_limits_that_no_request_meets_are_an_error(cluster_window: Span, tmp_path: Path) -> None:
    server = PrometheusServer(tmp_path / "data", arguments=["--query.max-samples=2"])
    server.load_recordings([Cluster().write(tmp_path / "recording.json")])
    with (
        server,
        pytest.raises(SourceError, match=r"answered 422 .*too many samples.*raise --query.max-samples") as error,
    ):
        step.run(asked(server.url, *cluster_window), tmp_path / "out")
    assert error.value.__cause__ is not None


def test_basic_auth_comes_from_the_environment_and_goes_nowhere_else(
    cluster_window: Span,
    clean_environment: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG")
    server = PrometheusServer(tmp_path / "data", web_config=BASIC_AUTH)
    server.load_recordings([Cluster(intervals=2).write(tmp_path / "recording.json")])
    with server:
        window = asked(server.url, *cluster_window)
        with pytest.raises(SourceError, match=r"answered 401 .*set PROMETHEUS_USERNAME and PROMETHEUS_PASSWORD"):
            step.run(window, tmp_path / "nobody")
        clean_environment.setenv("PROMETHEUS_USERNAME", "reader")
        clean_environment.setenv("PROMETHEUS_PASSWORD", "hunter2")
        with pytest.raises(SourceError, match="answered 401") as error:
            step.run(window, tmp_path / "wrong")
        assert "hunter2" not in str(error.value)
        clean_environment.delenv("PROMETHEUS_PASSWORD")
        (tmp_path / "password").write_text("test\n")
        clean_environment.setenv("PROMETHEUS_PASSWORD_FILE", str(tmp_path / "password"))
        assert step.run(window, tmp_path / "right").rows[POD_STAT] == 12
    assert "hunter2" not in caplog.text
    assert "test\\n" not in (tmp_path / "right" / "window.json").read_text()


def test_a_private_authority_is_trusted_only_if_given(
    cluster_window: Span, clean_environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    web_config = certificates(tmp_path)
    server = PrometheusServer(tmp_path / "data", web_config=web_config, ca_file=tmp_path / "ca.pem")
    server.load_recordings([Cluster(intervals=2).write(tmp_path / "recording.json")])
    with server:
        window = asked(server.url, *cluster_window)
        with pytest.raises(SourceError, match=r"certificate that is not trusted: .*set PROMETHEUS_CA_FILE"):
            step.run(window, tmp_path / "stranger")
        clean_environment.setenv("PROMETHEUS_CA_FILE", str(tmp_path / "ca.pem"))
        # What requests itself would read must not stand in the way.
        clean_environment.setenv("REQUESTS_CA_BUNDLE", "/etc/ssl/certs/ca-certificates.crt")
        assert step.run(window, tmp_path / "friend").rows[POD_STAT] == 12


def certificates(folder: Path) -> str:
    """Make a private authority and a server's certificate; gives the web configuration that uses them."""
    for command in (
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.pem",
        "req -newkey rsa:2048 -nodes -subj /CN=server -keyout server.key -out server.csr",
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.pem",
    ):
        (folder / "names").write_text("subjectAltName=IP:127.0.0.1")
        subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)
    return f"tls_server_config:\n  cert_file: {folder / 'server.pem'}\n  key_file: {folder / 'server.key'}\n"


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"PROMETHEUS_USERNAME": "a", "PROMETHEUS_BEARER_TOKEN": "hunter2"}, "both PROMETHEUS_BEARER_TOKEN and"),
        ({"PROMETHEUS_PASSWORD": "hunter2", "PROMETHEUS_PASSWORD_FILE": "x"}, "both PROMETHEUS_PASSWORD and"),
        ({"PROMETHEUS_PASSWORD_FILE": "/none"}, "PROMETHEUS_PASSWORD_FILE names /none, which cannot be read"),
        ({"PROMETHEUS_CA_FILE": "/none"}, "PROMETHEUS_CA_FILE names /none"),
    ],
)
def test_a_muddled_environment_is_refused(
    environment: dict[str, str], said: str, clean_environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in environment.items():
        clean_environment.setenv(name, value)
    with pytest.raises(WrongUsage, match=said) as error:
        step.run(asked("http://127.0.0.1:1", "2026-01-01T00:00", "2026-01-01T01:00"), tmp_path)
    assert "hunter2" not in str(error.value)


def test_a_long_window_is_cut_into_stretches_from_its_start(served_cluster: PrometheusServer, tmp_path: Path) -> None:
    begin = START.replace(hour=START.hour - 3, minute=1)
    window = asked(served_cluster.url, f"{begin:%Y-%m-%dT%H:%M}", "2026-03-01T12:30")
    step.run(window, tmp_path)
    assert sorted(path.name for path in (tmp_path / "shards").iterdir()) == [
        "node-a@20260301T090100.000000Z",
        "node-b%3A9102@20260301T090100.000000Z",
    ]
