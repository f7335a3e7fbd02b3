from __future__ import annotations

import gzip
import json
import math
from collections import Counter
from pathlib import Path

import pytest

from kepler_train.contract.errors import NoData, NotWritable, SourceError
from kepler_train.contract.features import WORKLOAD_FEATURES
from kepler_train.contract.tables import FREQUENCY, NODE_STAT, PACKAGE, POD_STAT, SET_APART
from kepler_train.contract.window import WindowSummary
from kepler_train.extract import pieces, spool, step
from tests.unit.extract.cluster import Cluster, Series, milliseconds, recorded, rows_of

Rows = dict[str, list[dict[str, object]]]


def extracted(cluster: Cluster, folder: Path) -> tuple[WindowSummary, Rows]:
    summary = step.run(recorded(cluster.write(folder / "recording.json")), folder / "out")
    return summary, rows_of(folder / "out")


def pods(cluster: Cluster, interval: int = 20, pod: str = "pod-1") -> Series:
    """One pod's series of one interval on the first node."""
    return cluster.of("pod_energy_stat", cluster.nodes[0], pod_name=pod)[interval]


def reasons(rows: Rows) -> dict[tuple[object, object], int]:
    """What was set apart, but for the first sample of each counter."""
    found = Counter((row["table"], row["reason"]) for row in rows[SET_APART])
    return {key: count for key, count in found.items() if key[1] != "first_sample"}


def test_labels_become_numbers_in_rows_by_time(cluster: Cluster, tmp_path: Path) -> None:
    summary, rows = extracted(cluster, tmp_path)
    assert summary.rows == {POD_STAT: 240, NODE_STAT: 80, FREQUENCY: 160, PACKAGE: 156}
    assert summary.nodes == ("node-a", "node-b:9102")
    assert summary.missing_metrics == ()
    first = rows[POD_STAT][4]
    assert {name: first[name] for name in ("node", "pod_name", "pod_namespace", "pod_energy_millijoules")} == {
        "node": "node-a",
        "pod_name": "pod-1",
        "pod_namespace": "default",
        "pod_energy_millijoules": 502.0,
    }
    assert [first[feature] for feature in WORKLOAD_FEATURES] == [110.0 + place for place in range(12)]
    assert milliseconds(first["timestamp"]) == round(cluster.moment(1) * 1000)
    for table in (POD_STAT, NODE_STAT, FREQUENCY, PACKAGE):
        for node in cluster.nodes:
            times = [row["timestamp"] for row in rows[table] if row["node"] == node]
            assert times == sorted(times)


def test_a_node_says_its_architecture_usage_and_energy(cluster: Cluster, tmp_path: Path) -> None:
    _, rows = extracted(cluster, tmp_path)
    row = rows[NODE_STAT][7]
    assert row["cpu_architecture"] == "Broadwell"
    assert row["node_curr_cache_miss"] == 3 * 700 + 30
    assert row["node_curr_container_memory_working_set_bytes"] == 3 * 700 + 30 + 33
    assert row["node_curr_energy_in_pkg_joule"] == 17.125


def test_frequencies_are_in_hertz_whatever_was_written(cluster: Cluster, tmp_path: Path) -> None:
    for one in cluster.series["node_cpu_scaling_frequency_hertz"]:
        if one["metric"]["cpu"] == "1":
            one["values"] = [(moment, value + "000") for moment, value in one["values"]]
    _, rows = extracted(cluster, tmp_path)
    assert {row["frequency_hertz"] for row in rows[FREQUENCY]} == {(2_000_000.0 + i) * 1000 for i in range(40)}


def test_counters_are_differences_over_an_interval(cluster: Cluster, tmp_path: Path) -> None:
    _, rows = extracted(cluster, tmp_path)
    columns = [f"{part}_energy_millijoules" for part in ("package", "core", "dram", "uncore")]
    assert {tuple(row[column] for column in columns) for row in rows[PACKAGE]} == {(150.0, 0.0, 70.0, 0.0)}
    apart = [row for row in rows[SET_APART] if row["reason"] == "first_sample"]
    assert [(row["node"], row["detail"].split(":")[0]) for row in apart] == [
        (node, f"pkg_id {package}") for node in cluster.nodes for package in "01"
    ]


def test_resets_wraps_and_gaps_give_no_difference(cluster: Cluster, tmp_path: Path) -> None:
    packages = cluster.of("node_package_energy_millijoule", "node-a", pkg_id="0")
    for series in packages[10:]:
        moment, value = series["values"][0]
        series["values"] = [(moment, str(int(value) - 90_000))]
    packages[29]["metric"]["dram"] = "65700000"
    others = cluster.of("node_package_energy_millijoule", "node-a", pkg_id="1")
    cluster.series["node_package_energy_millijoule"].remove(others[15])
    _, rows = extracted(cluster, tmp_path)
    found = [
        (milliseconds(row["timestamp"]), row["reason"]) for row in rows[SET_APART] if row["reason"] != "first_sample"
    ]
    assert found == [
        (round(cluster.moment(10) * 1000), "counter_reset"),
        (round(cluster.moment(16) * 1000), "gap"),
        (round(cluster.moment(30) * 1000), "counter_wrap"),
    ]
    assert all(row["package_energy_millijoules"] == 150 for row in rows[PACKAGE])


def test_samples_that_are_no_measurement_are_set_apart_with_reason_and_detail(cluster: Cluster, tmp_path: Path) -> None:
    pods(cluster, 1)["metric"]["curr_cpu_cycles"] = "NaN"
    pods(cluster, 2)["metric"]["curr_cpu_cycles"] = "+Inf"
    pods(cluster, 3)["metric"]["curr_cpu_cycles"] = ""
    del pods(cluster, 4)["metric"]["curr_cpu_cycles"]
    pods(cluster, 5)["metric"]["curr_cache_miss"] = "18446744073709551000"
    pods(cluster, 6)["metric"]["curr_cache_miss"] = "-1"
    pods(cluster, 7)["values"] = [(cluster.moment(7), "NaN")]
    pods(cluster, 8)["metric"]["pod_namespace"] = ""
    pods(cluster, 9)["metric"]["curr_cpu_time"] = "6601"
    summary, rows = extracted(cluster, tmp_path)
    details = {row["reason"]: row["detail"] for row in rows[SET_APART] if row["table"] == POD_STAT}
    assert summary.set_apart[POD_STAT] == {"impossible": 2, "missing_label": 3, "negative": 1, "not_finite": 3}
    assert details["negative"] == "default/pod-1: curr_cache_miss is -1"
    assert details["impossible"] == "default/pod-1: more ms than 2 cpus have in an interval: curr_cpu_time is 6601"
    assert summary.rows[POD_STAT] == 240 - 9
    assert not any(math.isnan(row["curr_cpu_cycles"]) for row in rows[POD_STAT])


def test_a_second_sample_of_a_pod_at_one_time_is_a_duplicate(cluster: Cluster, tmp_path: Path) -> None:
    one = pods(cluster)
    cluster.series["pod_energy_stat"].append(
        {"metric": {**one["metric"], "command": "z"}, "values": [(one["values"][0][0], "9999")]}
    )
    other = {**one["metric"], "pod_namespace": "another"}
    cluster.series["pod_energy_stat"].append({"metric": other, "values": one["values"]})
    summary, rows = extracted(cluster, tmp_path)
    assert reasons(rows) == {(POD_STAT, "duplicate"): 1}
    assert summary.rows[POD_STAT] == 241
    assert max(row["pod_energy_millijoules"] for row in rows[POD_STAT]) < 9999


def test_of_two_exporters_of_a_frequency_one_is_kept(cluster: Cluster, tmp_path: Path) -> None:
    """Also where the other comes first by name, and at other times."""
    for one in [
        one for one in cluster.series["node_cpu_scaling_frequency_hertz"] if one["metric"]["instance"] == "node-a"
    ]:
        metric = {**one["metric"], "job": "a-node-exporter"}
        values = [(moment + 0.5, "1900000000") for moment, _ in one["values"]]
        cluster.series["node_cpu_scaling_frequency_hertz"].append({"metric": metric, "values": values})
    summary, rows = extracted(cluster, tmp_path)
    assert reasons(rows) == {(FREQUENCY, "duplicate"): 80}
    assert summary.rows[FREQUENCY] == 160
    assert all(row["frequency_hertz"] >= 2e9 for row in rows[FREQUENCY])


def test_two_exporters_of_the_same_pods_are_an_error_that_says_what_to_do(cluster: Cluster, tmp_path: Path) -> None:
    other = Cluster(job="kepler-too")
    for metric, series in other.series.items():
        cluster.series[metric].extend(series)
    with pytest.raises(
        SourceError, match=r"node-a is exported by two jobs .*'kepler-exporter' and 'kepler-too'.*selector"
    ):
        extracted(cluster, tmp_path)


def test_a_job_renamed_on_the_way_is_one_exporter(cluster: Cluster, tmp_path: Path) -> None:
    for series in cluster.series.values():
        for one in series:
            if one["values"][0][0] > cluster.moment(20):
                one["metric"]["job"] = "kepler-too"
    summary, _ = extracted(cluster, tmp_path)
    assert summary.rows[NODE_STAT] == 80


def test_a_label_that_no_sample_has_is_an_empty_column(cluster: Cluster, tmp_path: Path) -> None:
    for one in cluster.series["pod_energy_stat"]:
        del one["metric"]["curr_container_cpu_usage_seconds_total"]
    for one in cluster.series["node_energy_stat"]:
        del one["metric"]["cpu_architecture"]
    _, rows = extracted(cluster, tmp_path)
    assert {row["container_cpu_usage_seconds_total"] for row in rows[POD_STAT]} == {None}
    assert {row["cpu_architecture"] for row in rows[NODE_STAT]} == {None}
    assert reasons(rows) == {}


def test_samples_without_a_node_are_set_apart(cluster: Cluster, tmp_path: Path) -> None:
    del pods(cluster, 3)["metric"]["instance"]
    summary, rows = extracted(cluster, tmp_path)
    assert reasons(rows) == {(POD_STAT, "missing_label"): 1}
    assert summary.nodes == tuple(cluster.nodes)


def test_every_sample_is_a_row_or_set_apart(cluster: Cluster, tmp_path: Path) -> None:
    pods(cluster, 3)["metric"]["curr_cpu_cycles"] = "NaN"
    cluster.series["pod_energy_stat"].append(pods(cluster, 5))
    summary, _ = extracted(cluster, tmp_path)
    stored = sum(len(one["values"]) for series in cluster.series.values() for one in series)
    apart = sum(count for table in summary.set_apart.values() for count in table.values())
    assert sum(summary.rows.values()) + apart == stored


def test_files_of_nodes_and_of_times_make_one_window(tmp_path: Path) -> None:
    whole = Cluster()
    files = []
    for node in whole.nodes:
        for first in (True, False):
            part = Cluster(nodes=(node,))
            for metric, series in part.series.items():
                for one in series:
                    one["values"] = [pair for pair in one["values"] if (pair[0] < whole.moment(20)) == first]
                part.series[metric] = [one for one in series if one["values"]]
            files.append(part.write(tmp_path / f"{len(files)}.json.gz"))
    summary = step.run(recorded(*files), tmp_path / "parts")
    step.run(recorded(whole.write(tmp_path / "whole.json")), tmp_path / "whole")
    assert rows_of(tmp_path / "parts") == rows_of(tmp_path / "whole")
    ends = [(milliseconds(span.start), milliseconds(span.end)) for span in summary.spans]
    moments = [round(whole.moment(index) * 1000) for index in (0, 19, 20, 39)]
    assert ends == [(moments[0] - 3000, moments[1]), (moments[2] - 3000, moments[3])]


def test_memory_pieces_and_spool_do_not_change_the_rows(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = cluster.write(tmp_path / "recording.json")
    step.run(recorded(file), tmp_path / "whole")
    monkeypatch.setattr(pieces, "PIECE_BYTES", 10_000)
    monkeypatch.setattr(spool, "WAITING_SAMPLES", 50)
    monkeypatch.setattr(spool, "SLICE_MILLISECONDS", 80_000)
    step.run(recorded(file), tmp_path / "pieces")
    assert rows_of(tmp_path / "pieces") == rows_of(tmp_path / "whole")


def test_only_the_asked_spans_are_read_open_at_the_start(cluster: Cluster, tmp_path: Path) -> None:
    file = cluster.write(tmp_path / "recording.json")
    window = recorded(
        file,
        start=["2026-03-01T10:00:30", "2026-03-01T10:01:15.003"],
        end=["2026-03-01T10:00:45.007", "2026-03-01T10:01:30"],
    )
    summary = step.run(window, tmp_path / "out")
    rows = [row for row in rows_of(tmp_path / "out")[NODE_STAT] if row["node"] == "node-a"]
    # The sample at 10:01:15.003 is the start of the second span, and not in it; that at 10:00:45.000 is in the first.
    clocks = ["00:30", "00:33", "00:36", "00:39", "00:42", "00:45", "01:18", "01:21", "01:24", "01:27"]
    assert [row["timestamp"].strftime("%M:%S") for row in rows] == clocks
    assert len(summary.spans) == 2
    # Before a span there are samples to take the first difference from.
    assert PACKAGE not in summary.set_apart


def test_frequency_may_be_missing_and_is_named(cluster: Cluster, tmp_path: Path) -> None:
    del cluster.series["node_cpu_scaling_frequency_hertz"]
    summary, rows = extracted(cluster, tmp_path)
    assert summary.missing_metrics == ("node_cpu_scaling_frequency_hertz",)
    assert rows[FREQUENCY] == []


def test_package_counters_alone_are_energy_too(cluster: Cluster, tmp_path: Path) -> None:
    del cluster.series["node_energy_stat"]
    summary, _ = extracted(cluster, tmp_path)
    assert summary.missing_metrics == ("node_energy_stat",)


def test_pods_without_energy_are_no_data(cluster: Cluster, tmp_path: Path) -> None:
    del cluster.series["node_energy_stat"]
    del cluster.series["node_package_energy_millijoule"]
    with pytest.raises(
        NoData, match=r"no samples of node_energy_stat or node_package_energy_millijoule in .*recording.json"
    ):
        extracted(cluster, tmp_path)
    assert not (tmp_path / "out" / "window.json").exists()


def test_energy_without_pods_is_no_data(cluster: Cluster, tmp_path: Path) -> None:
    del cluster.series["pod_energy_stat"]
    with pytest.raises(NoData, match="no samples of pod_energy_stat"):
        extracted(cluster, tmp_path)


def test_pods_of_which_none_is_usable_are_no_data_and_say_why(cluster: Cluster, tmp_path: Path) -> None:
    for one in cluster.series["pod_energy_stat"]:
        one["metric"]["curr_cpu_time"] = "NaN"
    with pytest.raises(NoData, match=r"no usable samples of pod_energy_stat .* set apart were 240 not_finite"):
        extracted(cluster, tmp_path)


def test_one_interval_is_a_window(tmp_path: Path) -> None:
    summary, _ = extracted(Cluster(intervals=1), tmp_path)
    assert summary.rows == {POD_STAT: 6, NODE_STAT: 2, FREQUENCY: 4, PACKAGE: 0}
    assert summary.missing_metrics == ()
    assert summary.set_apart == {PACKAGE: {"first_sample": 4}}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"pod_energy_stat":[', "ends in the middle"),
        (b"", "ends in the middle"),
        (b'{"status":"success","data":{"resultType":"matrix","result":[]}}', "is no recording"),
        (b"[]", "is no recording"),
        (b'{"pod_energy_stat":[{"metric":{"a":"b"},"values":[[1]]}]}', "something else than series"),
        (gzip.compress(b'{"pod_energy_stat":[]}', mtime=0)[:-9], "ends in the middle"),
        (b'{"pod_energy_stat":[{"metric":{"pod_name":"caf\xe9"},"values":[[1,"2"]]}]}', "not in UTF-8"),
        (b'{"caf\xe9":[]}', "damaged"),
        (b'{"caf\xe9":[{"metric":{},"values":[]}]}', "damaged"),
    ],
)
def test_what_is_no_recording_is_an_error_that_names_the_file(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "odd.json").write_bytes(content)
    with pytest.raises(SourceError, match=f"odd.json.*{said}"):
        step.run(recorded(tmp_path / "odd.json"), tmp_path / "out")


def test_a_recording_cut_in_the_middle_is_an_error(cluster: Cluster, tmp_path: Path) -> None:
    content = cluster.write(tmp_path / "whole.json").read_bytes()
    (tmp_path / "cut.json").write_bytes(content[: len(content) // 2])
    with pytest.raises(SourceError, match=r"cut.json ends in the middle"):
        step.run(recorded(tmp_path / "cut.json"), tmp_path / "out")


def test_an_indented_recording_says_how_to_write_it(cluster: Cluster, tmp_path: Path) -> None:
    file = cluster.write(tmp_path / "indented.json", indent=1)
    with pytest.raises(SourceError, match="indented"):
        step.run(recorded(file), tmp_path / "out")


def test_a_recording_with_a_series_a_line_says_how_to_write_it(cluster: Cluster, tmp_path: Path) -> None:
    content = cluster.write(tmp_path / "lines.json").read_text()
    (tmp_path / "lines.json").write_text(content.replace('{"metric"', '\n{"metric"'))
    with pytest.raises(SourceError, match=r"lines.json is indented, .* write it by jq -c"):
        step.run(recorded(tmp_path / "lines.json"), tmp_path / "out")


def test_an_indented_recording_is_refused_by_its_beginning(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it in memory at once would be as large as the recording."""
    monkeypatch.setattr(pieces, "PIECE_BYTES", 1000)
    monkeypatch.setattr(pieces, "MOST_HEAD_BYTES", 5000)
    content = cluster.write(tmp_path / "indented.json", indent=1).read_bytes()
    (tmp_path / "indented.json").write_bytes(content[: len(content) // 2])
    with pytest.raises(SourceError, match="indented"):
        step.run(recorded(tmp_path / "indented.json"), tmp_path / "out")


def test_a_missing_recording_is_an_error_with_its_cause(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"none.json cannot be read: No such file") as error:
        step.run(recorded(tmp_path / "none.json"), tmp_path / "out")
    assert isinstance(error.value.__cause__, FileNotFoundError)


@pytest.mark.recordings
def test_the_recordings_hold_what_they_are_said_to_hold(recordings: dict[str, Path], tmp_path: Path) -> None:
    summary = step.run(recorded(*recordings.values()), tmp_path / "out")
    stored: Counter[str] = Counter()
    for file in recordings.values():
        for metric, series in json.loads(gzip.decompress(file.read_bytes())).items():
            stored[metric] += sum(len(one["values"]) for one in series)
    assert summary.rows == {POD_STAT: 15_571, NODE_STAT: 731, FREQUENCY: 504, PACKAGE: 1454}
    assert summary.set_apart == {FREQUENCY: {"duplicate": 504}, PACKAGE: {"counter_wrap": 2, "first_sample": 6}}
    assert sum(stored.values()) == sum(summary.rows.values()) + 512
    assert len(summary.spans) == 3
    rows = rows_of(tmp_path / "out")
    by_time: Counter[object] = Counter()
    for row in rows[POD_STAT]:
        by_time[row["timestamp"]] += row["curr_cpu_cycles"]
    assert all(by_time[row["timestamp"]] == row["node_curr_cpu_cycles"] for row in rows[NODE_STAT])


def test_times_in_milliseconds_are_no_times(cluster: Cluster, tmp_path: Path) -> None:
    for series in cluster.series.values():
        for one in series:
            one["values"] = [(moment * 1000, value) for moment, value in one["values"]]
    with pytest.raises(SourceError, match=r"recording.json holds something else .*; are these milliseconds\?"):
        extracted(cluster, tmp_path)


def test_a_node_whose_name_no_folder_can_have_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"the node nnn.*… has a name of 400 characters, too long"):
        extracted(Cluster(nodes=["n" * 400]), tmp_path)


@pytest.mark.parametrize("place", ["scratch", "shards"])
def test_a_folder_that_cannot_be_written_is_named(cluster: Cluster, tmp_path: Path, place: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / place).write_text("in the way")
    with pytest.raises(NotWritable, match=f"cannot write to {tmp_path}/out: .*; is there room"):
        extracted(cluster, tmp_path)


def test_a_full_disk_is_no_fault_of_the_recording(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool.Spool, "_file", lambda *_: Path("/dev/full"))
    with pytest.raises(NotWritable, match=r"cannot write to .*spool: No space left on device; is there room"):
        extracted(cluster, tmp_path)


def test_an_answer_as_it_came_is_told_how_it_becomes_a_recording(cluster: Cluster, tmp_path: Path) -> None:
    file = tmp_path / "answer.json"
    result = cluster.series["pod_energy_stat"]
    file.write_text(json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}}))
    with pytest.raises(SourceError, match=r"answer.json is no recording: .* jq -c '{METRIC: .data.result}'"):
        step.run(recorded(file), tmp_path / "out")
