"""Several folders of one window."""

from __future__ import annotations

import shutil
from datetime import datetime, timedelta, timezone

import msgspec
import pytest

from kepler_train.assemble.join import joined
from kepler_train.assemble.step import run
from kepler_train.contract.errors import BrokenContract, NoData
from kepler_train.contract.features import FeatureGroup
from kepler_train.contract.window import SHARDS, SUMMARY_FILE, RecordingSource, Span, Window, WindowSummary
from tests.unit.assemble.windows import steady_node, write_window

START = datetime(2026, 3, 1, 10, tzinfo=timezone.utc)
WINDOW = Window(run_id="run", source=RecordingSource(files=("made.json",)))


def span(first, last):
    return Span(START + timedelta(minutes=first), START + timedelta(minutes=last))


def summary(*nodes, window=WINDOW, spans=(), rows=None, set_apart=None, missing=()):
    return WindowSummary(
        window=window,
        spans=spans,
        rows=rows or {"pod_stat_data": 1},
        set_apart=set_apart or {},
        missing_metrics=missing,
        nodes=nodes,
    )


def test_one_folder_is_what_it_says():
    one = summary("a", spans=(span(0, 5), span(7, 9)), set_apart={"pod_stat_data": {"duplicate": 3}}, missing=("x",))
    assert joined([one]) == one


def test_rows_and_what_was_set_apart_add_up_and_a_metric_is_missing_where_all_miss_it():
    first = summary("b", rows={"pod_stat_data": 3, "pkg_data": 0}, missing=("packages", "frequencies"))
    second = summary(
        "a",
        "c",
        rows={"pod_stat_data": 4, "pkg_data": 2},
        set_apart={"pkg_data": {"reset": 1}},
        missing=("frequencies",),
    )
    third = summary("d", rows={"pod_stat_data": 0, "pkg_data": 2}, set_apart={"pkg_data": {"first": 2, "reset": 1}})
    of_two = joined([first, second])
    assert of_two.nodes == ("a", "b", "c")
    assert of_two.rows == {"pod_stat_data": 7, "pkg_data": 2}
    assert of_two.missing_metrics == ("frequencies",)
    of_all = joined([first, second, third])
    assert of_all.set_apart == {"pkg_data": {"first": 2, "reset": 2}}
    assert of_all.missing_metrics == ()


def test_of_an_asked_span_all_that_was_found_is_one():
    window = msgspec.structs.replace(WINDOW, spans=(span(0, 60), span(90, 120)))
    summaries = [
        summary("a", window=window, spans=(span(0, 10),)),
        summary("b", window=window, spans=(span(50, 60), span(95, 120))),
        summary("c", window=window, spans=(span(90, 100),)),
        summary(window=window),
    ]
    assert joined(summaries).spans == (span(0, 60), span(90, 120))


def test_of_recordings_what_overlaps_is_one():
    summaries = [summary("a", spans=(span(0, 10), span(20, 29))), summary("b", spans=(span(1, 11), span(30, 31)))]
    assert joined(summaries).spans == (span(0, 11), span(20, 29), span(30, 31))


def test_windows_of_two_runs_are_refused():
    other = msgspec.structs.replace(WINDOW, run_id="another")
    with pytest.raises(BrokenContract, match="of two runs, run and another"):
        joined([summary("a"), summary("b", window=other)])


def test_a_node_that_came_twice_is_refused():
    with pytest.raises(BrokenContract, match=r"^b was extracted twice for run"):
        joined([summary("a", "b"), summary("b", "c")])


@pytest.fixture
def folders(tmp_path):
    """Two nodes, each in a folder of its own, and both in one."""
    nodes = [steady_node("node-a"), steady_node("node-b", idle=90_000.0)]
    for folder, of_folder in {"a": nodes[:1], "b": nodes[1:], "both": nodes, "none": []}.items():
        write_window(tmp_path / folder, *of_folder)
    return tmp_path


def test_parts_of_several_folders_are_those_of_one(folders):
    group = FeatureGroup.COUNTER_ONLY
    shutil.rmtree(folders / "none" / SHARDS)  # as from a bucket, which keeps no empty folder
    whole = run([folders / "both"], group, folders / "training", folders / "held_out")
    several = [folders / name for name in ("b", "none", "a")]
    assert run(several, group, folders / "training-of-three", folders / "held_out-of-three") == whole
    assert files_of(folders / "training-of-three") == files_of(folders / "training")
    assert files_of(folders / "held_out-of-three") == files_of(folders / "held_out")
    assert WindowSummary.read(folders / "held_out" / SUMMARY_FILE).nodes == ("node-a", "node-b")


def files_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_shards_that_were_lost_on_the_way_are_missed(folders):
    shutil.rmtree(folders / "b" / SHARDS)
    with pytest.raises(BrokenContract, match="no shards of node-b are there, which were read"):
        run([folders / "a", folders / "b"], FeatureGroup.COUNTER_ONLY, folders / "training", folders / "held_out")


def test_folders_without_a_sample_are_no_data(folders):
    with pytest.raises(NoData, match="the window of run holds no samples at all"):
        run([folders / "none"], FeatureGroup.COUNTER_ONLY, folders / "training", folders / "held_out")
