"""The errors of champions over the runs, as the store still tells them, and what is served now."""

from __future__ import annotations

import re
import shutil
from datetime import timedelta

import msgspec
import pytest

from kepler_train.contract.features import FeatureGroup
from kepler_train.contract.models import DECISION_FILE, Score, read_decision
from kepler_train.contract.pages import EVALUATION_PAGES
from kepler_train.report import history
from tests.unit.report.builders import Model, build, night
from tests.unit.report.conftest import PUBLISHED
from tests.unit.report.html_check import check_page

G = FeatureGroup


def score(mape_percent):
    return Score(1.0, 1.0, mape_percent, 0.0, mape_percent)


@pytest.fixture
def run(tmp_path):
    return build(tmp_path / "run", [Model(G.COUNTER_ONLY, "linear")], night(0.4))


@pytest.fixture
def nights(run, publish):
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


def history_on(page):
    """What the page says and draws of champions' errors: words, and the lines, each as (x1, y1, x2, y2)."""
    shown = [element for element in page.all("div") if element.attributes.get("class") == "history"]
    if not shown:
        return "", []
    lines = [line.attributes for line in shown[0].all("line") if line.attributes["class"] == "champion"]
    return shown[0].text, [tuple(float(line[end].strip("%")) for end in ("x1", "y1", "x2", "y2")) for line in lines]


def test_each_champion_is_a_line_from_where_it_came_to_where_it_went(run, nights, report):
    nights((None, 20.0), (18.0, 10.0), (10.0, 5.0))
    words, lines = history_on(check_page(report(run)))
    first, second, third = lines
    assert first == pytest.approx((0, 0, 50, 3.4))
    assert second == pytest.approx((50, 17, 100, 17))
    assert third == pytest.approx((100, 25.5, 100, 25.5)), "not scored in this run: a dot where it came"
    assert re.findall(r"([\d.]+) %", words) == ["20.0", "5.00"]
    assert words.endswith("23 Nov 25 Nov")


@pytest.mark.parametrize(
    ("days", "ends"), [(0, ("04:30", "04:30")), (5, ("22 Nov", "27 Nov")), (90, ("Nov 2026", "Feb 2027"))]
)
def test_times_are_told_as_briefly_as_can_be(days, ends):
    assert history.History(PUBLISHED, PUBLISHED + timedelta(days=days), ()).ends == ends


def test_the_last_error_is_this_runs(run, nights, report):
    nights((None, 10.0), (10.0, 5.0), now=7.5)
    words, lines = history_on(check_page(report(run)))
    assert lines[-1][1] == pytest.approx(17)
    assert lines[-1][3] == pytest.approx(8.5)
    assert "7.50" in words


def test_first_champions_have_no_history(tmp_path, report, publish):
    models = [Model(G.COUNTER_ONLY, name, error=0.02, champion_error=None) for name in ("linear", "spline")]
    run = build(tmp_path / "run", models, night(0.4))
    for hour, folder in enumerate(run.decisions):
        publish(folder, "v1", published=PUBLISHED + timedelta(hours=hour))
    page = check_page(report(run))
    assert "2 models first published" in page.text
    assert history_on(page) == ("", [])


def test_a_champion_of_this_very_moment_and_without_error_is_drawn(run, nights, report):
    nights((None, 0.0), now=0.0)
    assert len(history_on(check_page(report(run)))[1]) == 1


def test_a_history_begins_behind_what_was_pruned(run, nights, report, tmp_path):
    nights((None, 20.0), (18.0, 10.0), (10.0, 5.0))
    shutil.rmtree(tmp_path / "store" / "models" / "CounterOnly" / "linear" / "v1")
    words, lines = history_on(check_page(report(run)))
    assert len(lines) == 2
    assert "20.0" not in words


def test_what_is_not_to_be_trusted_is_not_drawn(run, nights, report, tmp_path):
    nights((None, 20.0), (18.0, 10.0), (10.0, 5.0))
    provenance = tmp_path / "store" / "models" / "CounterOnly" / "linear" / "v2" / "provenance.json"
    provenance.write_bytes(provenance.read_bytes().replace(b"10.0", b"99.0"))
    assert history_on(check_page(report(run))) == ("", [])


def test_long_histories_are_cut(run, nights, report, monkeypatch):
    monkeypatch.setattr(history, "MOST_CHAMPIONS", 2)
    nights((None, 20.0), (18.0, 10.0), (10.0, 5.0))
    assert len(history_on(check_page(report(run)))[1]) == 2


def test_versions_and_digests_of_what_is_served_are_listed(run, nights, report, tmp_path):
    nights((None, 10.0), (10.0, 5.0))
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
