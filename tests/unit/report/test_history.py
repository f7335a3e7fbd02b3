"""The errors of what was in service over the runs, by versions and by records, and what is served now."""

from __future__ import annotations

import re
import shutil
from datetime import datetime, timedelta, timezone

import msgspec
import pytest

from kepler_train.contract.features import FeatureGroup
from kepler_train.contract.models import DECISION_FILE, Score, read_decision
from kepler_train.contract.pages import EVALUATION_PAGES
from kepler_train.contract.runs import RunRecord, ServiceError
from kepler_train.report import history, serving, step
from kepler_train.store import open_store
from tests.unit.report.builders import RUN_ID, Model, build, night
from tests.unit.report.conftest import PUBLISHED
from tests.unit.report.html_check import check_page

G = FeatureGroup
NAME = "CounterOnly/linear"


def score(mape_percent):
    return Score(1.0, 1.0, mape_percent, 0.0, mape_percent)


@pytest.fixture
def run(tmp_path):
    return build(tmp_path / "run", [Model(G.COUNTER_ONLY, "linear")], night(0.4))


@pytest.fixture
def nights(run, publish, tmp_path):
    """A function that keeps the record of a run for each (version served, its error), a day apart.

    The run's own decision is then of now: it keeps the version that is served, with an error of 5 %.
    """

    def keep(*errors):
        store = open_store(str(tmp_path / "store"))
        for number, (version, error) in enumerate(errors):
            record = RunRecord(
                run_id=f"202611{number:02d}T020000Z-{number}",
                ended=datetime.now(timezone.utc) - timedelta(days=len(errors) - number),
                errors={NAME: ServiceError(version, error)},
            )
            store.add_run(record)
        decided = read_decision(run.decisions[0])
        unscored = msgspec.structs.replace(decided, candidate=None, champion=None, champion_version="")
        unscored.write(run.decisions[0] / DECISION_FILE)
        publish(run.decisions[0], errors[-1][0])
        champion = {"champion_version": errors[-1][0], "champion": score(5.0), "improved": False}
        msgspec.structs.replace(decided, **champion).write(run.decisions[0] / DECISION_FILE)

    return keep


def history_on(page):
    """What the page says and draws of errors over the runs: words, the lines as (kind, x1, y1, x2, y2), dots' x."""
    shown = [element for element in page.all("div") if element.attributes.get("class") == "history"]
    if not shown:
        return "", [], []
    lines = [line.attributes for line in shown[0].all("line") if line.attributes["class"] != "grid"]
    ends = ("x1", "y1", "x2", "y2")
    dots = [float(dot.attributes["cx"].strip("%")) for dot in shown[0].all("circle")]
    return shown[0].text, [(line["class"], *(float(line[end].strip("%")) for end in ends)) for line in lines], dots


@pytest.fixture
def champions(run, publish):
    """A function that publishes champions, a night apart, of which each night's errors are (champion, candidate).

    The run's own decision is then of the next night, which keeps the last with an error of `now`.
    """

    def publish_nights(*errors, now=None):
        folder, before = run.decisions[0], ""
        for number, (champion, candidate) in enumerate(errors, 1):
            scores = {"candidate": score(candidate), "champion": None if champion is None else score(champion)}
            decided = msgspec.structs.replace(read_decision(folder), improved=True, champion_version=before, **scores)
            decided.write(folder / DECISION_FILE)
            before = publish(folder, f"v{number}", published=PUBLISHED + timedelta(days=number))
        kept = {"improved": False, "candidate": score(50), "champion": None if now is None else score(now)}
        decided = msgspec.structs.replace(read_decision(folder), champion_version=before, **kept)
        decided.write(folder / DECISION_FILE)

    return publish_nights


def test_versions_tell_the_errors_of_champions_when_they_came_and_went(run, champions, report):
    champions((None, 20.0), (18.0, 10.0), (10.0, 5.0))
    words, lines, dots = history_on(check_page(report(run)))
    assert [(kind, *map(round, ends)) for kind, *ends in lines] == [
        ("champion", 0, 0, 50, 3),
        ("step", 50, 3, 50, 17),
        ("champion", 50, 17, 100, 17),
        ("step", 100, 17, 100, 26),
    ]
    assert dots == pytest.approx([0, 50, 100])
    assert re.findall(r"([\d.]+) %", words) == ["20.0", "5.00"]
    assert words.endswith("23 Nov 25 Nov")


def test_a_history_begins_behind_what_was_pruned(run, champions, report, tmp_path):
    champions((None, 20.0), (18.0, 10.0), (10.0, 5.0))
    shutil.rmtree(tmp_path / "store" / "models" / "CounterOnly" / "linear" / "v1")
    words, _lines, dots = history_on(check_page(report(run)))
    assert len(dots) == 3, "how v1 went stands in v2"
    assert "20.0" not in words


def test_what_is_not_to_be_trusted_is_not_drawn(run, champions, report, tmp_path):
    champions((None, 20.0), (18.0, 10.0), (10.0, 5.0))
    provenance = tmp_path / "store" / "models" / "CounterOnly" / "linear" / "v2" / "provenance.json"
    provenance.write_bytes(provenance.read_bytes().replace(b"10.0", b"99.0"))
    words, _lines, dots = history_on(check_page(report(run)))
    assert len(dots) == 2
    assert "99" not in words


def test_first_champions_have_no_history(tmp_path, report, publish):
    models = [Model(G.COUNTER_ONLY, name, error=0.02, champion_error=None) for name in ("linear", "spline")]
    run = build(tmp_path / "run", models, night(0.4))
    for hour, folder in enumerate(run.decisions):
        publish(folder, "v1", published=PUBLISHED + timedelta(hours=hour))
    page = check_page(report(run))
    assert "2 models first published" in page.text
    assert history_on(page) == ("", [], [])


def test_each_run_is_a_point_and_each_new_version_a_dot(run, nights, report):
    nights(("v1", 20.0), ("v1", 10.0), ("v2", 4.0), ("v2", 4.0))
    words, lines, dots = history_on(check_page(report(run)))
    assert [line[0] for line in lines] == ["champion", "step", "champion", "champion"]
    assert lines[0][1:] == pytest.approx((0, 0, 25, 17), abs=0.1)
    assert lines[-1][1:] == pytest.approx((75, 27.2, 100, 25.5), abs=0.1), "this run, in which v2 is off by 5 %"
    assert dots == pytest.approx([0, 50], abs=0.1)
    assert re.findall(r"([\d.]+) %", words) == ["20.0", "5.00"]


@pytest.mark.parametrize(
    ("days", "ends"), [(0, ("04:30", "04:30")), (5, ("22 Nov", "27 Nov")), (90, ("Nov 2026", "Feb 2027"))]
)
def test_times_are_told_as_briefly_as_can_be(days, ends):
    assert history.History(PUBLISHED, PUBLISHED + timedelta(days=days), ()).ends == ends


def test_a_first_run_has_no_history(run, report):
    assert history_on(check_page(report(run))) == ("", [], [])


def test_a_model_without_error_is_drawn(run, nights, report):
    nights(("v1", 0.0))
    assert len(history_on(check_page(report(run)))[1]) == 1


def test_what_is_no_record_is_not_drawn(run, nights, report, tmp_path, caplog):
    nights(("v1", 20.0), ("v1", 10.0))
    first, _second = sorted((tmp_path / "store" / "runs").iterdir())
    first.write_text("{}")
    assert len(history_on(check_page(report(run)))[1]) == 1
    assert f"runs/{first.name}" in caplog.text


def test_long_histories_are_cut(run, nights, report, monkeypatch):
    monkeypatch.setattr(serving, "MOST_RUNS", 2)
    nights(("v1", 20.0), ("v1", 10.0), ("v1", 8.0))
    assert len(history_on(check_page(report(run)))[1]) == 2


def test_a_runs_record_holds_what_failed_and_the_errors_of_what_is_served(tmp_path, publish):
    models = [
        Model(G.COUNTER_ONLY, "kept", error=0.05, champion_error=0.03),
        Model(G.COUNTER_ONLY, "broken", error=None, champion_error=None),
    ]
    built = build(tmp_path / "run", models, night(0.4))
    publish(built.decisions[0], "v1")
    decided = msgspec.structs.replace(read_decision(built.decisions[0]), champion_version="v1")
    decided.write(built.decisions[0] / DECISION_FILE)
    pages = {"html": tmp_path / "report.html", "markdown": tmp_path / "report.md"}
    record = step.run(built.decisions, built.parts, str(tmp_path / "store"), **pages)
    assert record.run_id == RUN_ID
    assert record.failed == ("CounterOnly/broken",)
    champion = read_decision(built.decisions[0]).champion
    assert record.errors == {"CounterOnly/kept": ServiceError("v1", champion.mape_percent)}


def test_versions_and_digests_of_what_is_served_are_listed(run, publish, report, tmp_path):
    publish(run.decisions[0], "v2", published=PUBLISHED + timedelta(days=2))
    page = check_page(report(run))
    (section,) = (s for s in page.all("section") if s.attributes.get("aria-labelledby") == "served")
    (row,) = section.all("tbody")[0].all("tr")
    served = msgspec.json.decode((tmp_path / "store" / "index.json").read_bytes())["models"]["CounterOnly"]["linear"]
    digest = served["provenance_sha256"]
    assert row.children[0].text == "CounterOnly/linear"
    assert re.findall(r"v\d|since [\w ]+:30|sha256:\w+", row.children[1].text) == [
        "since 24 Nov 2026 04:30",
        "v2",
        f"sha256:{digest}",
    ]
    assert f"| CounterOnly/linear | v2 | 24 Nov 2026 04:30 | {digest} |" in (tmp_path / "report.md").read_text()


def test_where_nothing_is_served_nothing_is_listed(run, report, tmp_path):
    assert "In service" not in check_page(report(run)).text
    assert "sha256" not in (tmp_path / "report.md").read_text()


def test_a_local_run_links_each_model_to_its_page(run, report, monkeypatch):
    monkeypatch.setenv(EVALUATION_PAGES, "evaluations")
    links = {link.text: link.attributes["href"] for link in check_page(report(run)).all("a")}
    assert links["linear"] == "evaluations/CounterOnly-linear.html"
    assert links["CounterOnly"] == "#group-CounterOnly"


def test_in_a_frame_there_are_no_links_and_the_task_is_named(run, report):
    page = check_page(report(run))
    assert not page.all("a")
    assert "CounterOnly / linear: evaluate" in page.text
