"""What the leaderboard says about the run, the store and the data."""

from __future__ import annotations

import re

import msgspec
import pytest

from kepler_train.contract.errors import BrokenContract
from kepler_train.contract.evidence import IdleSource
from kepler_train.contract.features import FeatureGroup
from kepler_train.contract.models import (
    CANDIDATE_FILE,
    DECISION_FILE,
    TRACE_FILE,
    Canary,
    Score,
    read_decision,
)
from kepler_train.contract.runs import ServiceError
from kepler_train.report import step
from tests.signing_keys import SIGNING_KEY_FILE, UNSIGNED, VERIFY_KEYS_FILE
from tests.unit.report.builders import GUESS, Model, build, night, write_decision
from tests.unit.report.html_check import check_page

G = FeatureGroup


def articles(page):
    return {entry.attributes["data-model"]: entry for entry in page.all("article")}


def glance(page):
    rows = page.all("table")[0].all("tbody")[0].all("tr")
    return {row.children[0].text: [cell.text for cell in row.children[1:]] for row in rows}


def numbers(text):
    return [float(number) for number in re.findall(r"[\d.]+", text)]


def edit(folder, **changes):
    decision = msgspec.structs.replace(read_decision(folder), **changes)
    decision.write(folder / DECISION_FILE)
    return decision


@pytest.fixture
def better(tmp_path):
    """One model that is better than its champion, and one that is not."""
    models = [
        Model(G.COUNTER_ONLY, "linear", error=0.02, champion_error=0.06),
        Model(G.COUNTER_ONLY, "spline", error=0.06, champion_error=0.02),
    ]
    return build(tmp_path / "run", models, night(1))


def test_names_of_failed_pipelines_come_back(realistic, tmp_path):
    record = step.run(
        realistic.decisions,
        realistic.parts,
        str(tmp_path),
        html=tmp_path / "a.html",
        markdown=tmp_path / "a.md",
    )

    assert record.failed == ("CounterOnly/additive-network",)


def test_headline_tells_the_counts_and_why_one_failed(realistic, report, publish):
    for index, folder in enumerate(realistic.decisions):
        if read_decision(folder).improved:
            publish(folder, f"v{index}")

    (headline,) = check_page(report(realistic)).all("h1")

    assert headline.text.startswith("3 of 14 models replaced, 2 first published, 6 kept, 2 no better than a constant,")
    assert "1 failed: CounterOnly/additive-network — ValueError: Input X contains NaN" in headline.text


def test_what_this_run_published_is_what_is_served(better, report, publish):
    version = publish(better.decisions[0], "20261122T043000Z-new")

    page = check_page(report(better))

    linear = articles(page)["CounterOnly/linear"]
    assert linear.attributes["data-outcome"] == "replaced"
    assert version in linear.text
    assert "by this run" in linear.text


def test_the_glance_tells_the_best_error_before_and_now(tmp_path, report):
    run = build(tmp_path, [Model(G.FULL, "linear", error=0.02, champion_error=0.06)], night(1))

    best, error, _ = glance(check_page(report(run, store="ftp://nowhere")))["Full"]

    decision = read_decision(run.decisions[0])
    assert best == "linear"
    assert numbers(error) == pytest.approx([decision.champion.mape_percent, decision.candidate.mape_percent], rel=0.005)


def test_the_best_in_service_may_be_a_champion_that_was_kept(tmp_path, report):
    models = [Model(G.FULL, "spline", error=0.06, champion_error=0.02), Model(G.FULL, "linear", error=0.05)]
    run = build(tmp_path, models, night(1))

    best, error, _ = glance(check_page(report(run, store="ftp://nowhere")))["Full"]

    assert best == "spline"
    assert numbers(error) == pytest.approx([read_decision(run.decisions[0]).champion.mape_percent], rel=0.005)


def test_a_better_model_that_the_store_does_not_serve_is_not_called_replaced(better, report):
    page = check_page(report(better))

    assert articles(page)["CounterOnly/linear"].attributes["data-outcome"] == "unserved"
    assert page.all("h1")[0].text == "1 of 2 models better but not served, 1 kept"
    assert "the store serves no model of this name" in page.text


def test_a_version_of_another_run_is_not_this_runs(better, report, publish):
    publish(better.decisions[0], "v9", run_id="the-other-night")

    page = check_page(report(better))

    assert articles(page)["CounterOnly/linear"].attributes["data-outcome"] == "unserved"
    assert "the-other-night" in page.text


def test_a_version_that_came_in_between_is_not_given_the_champions_error(better, report, publish, tmp_path):
    publish(better.decisions[1], "v9", run_id="the-other-night")

    page = check_page(report(better))

    champion = read_decision(better.decisions[1]).champion_version
    assert f"v9 came in between, and the next run will compare with it; this one did with {champion}" in page.text
    assert "is in service, not scored in this run" in articles(page)["CounterOnly/spline"].text
    pages = {"html": tmp_path / "report.html", "markdown": tmp_path / "report.md"}
    record = step.run(better.decisions, better.parts, str(tmp_path / "store"), **pages)
    assert "CounterOnly/spline" not in record.errors


def test_a_run_that_cannot_see_what_is_served_records_no_version_for_it(better, tmp_path):
    pages = {"html": tmp_path / "report.html", "markdown": tmp_path / "report.md"}
    record = step.run(better.decisions, better.parts, "s3://bucket", **pages)
    assert set(record.errors) == {"CounterOnly/spline"}


def test_a_damaged_version_is_not_called_replaced(better, report, publish, tmp_path):
    version = publish(better.decisions[0], "v9")
    provenance = tmp_path / "store" / "models" / "CounterOnly" / "linear" / version / "provenance.json"
    provenance.write_bytes(provenance.read_bytes() + b" ")

    page = check_page(report(better))

    assert articles(page)["CounterOnly/linear"].attributes["data-outcome"] == "unserved"
    assert "cannot be used" in page.text


def test_a_store_that_is_away_is_said_and_decisions_stand(better, report):
    page = check_page(report(better, store="ftp://nowhere"))

    assert "what it serves now is not known" in page.text
    assert articles(page)["CounterOnly/linear"].attributes["data-outcome"] == "replaced"
    assert page.all("h1")[0].text == "1 of 2 models replaced, 1 kept"


def test_errors_of_candidate_champion_and_constant_stand_side_by_side(better, report):
    shown = articles(check_page(report(better)))["CounterOnly/spline"].all("dl")[0].text

    decision = read_decision(better.decisions[1])
    scores = (decision.candidate, decision.champion, decision.baselines["constant"])
    assert numbers(shown) == pytest.approx([score.mape_percent for score in scores], rel=0.005)


def test_a_champion_of_a_pipeline_that_failed_stays_in_service(tmp_path, report):
    run = build(tmp_path, [Model(G.FULL, "linear", error=None)], night(0.4))

    page = check_page(report(run, store="ftp://nowhere"))

    assert glance(page)["Full"][0] == "linear (not scored)"
    assert "is in service, not scored in this run" in articles(page)["Full/linear"].text


def test_a_group_without_signal_is_said(realistic, report):
    page = check_page(report(realistic))

    (section,) = (element for element in page.all("section") if element.attributes.get("id") == "group-KubeletOnly")
    assert "No model of this group is better than a constant" in section.text
    assert "container_cpu_usage_seconds_total" in section.text
    assert glance(page)["KubeletOnly"][0] == "none"


def test_what_was_set_apart_stands_with_reason_number_and_share(tmp_path, report):
    run = build(
        tmp_path,
        [Model(G.FULL, "linear"), Model(G.BPF_ONLY, "linear")],
        night(1),
        set_apart={"pkg_data": {"counter_reset": 1570}},
        part_set_apart={"no_energy": 118},
    )

    page = check_page(report(run))

    (section,) = (s for s in page.all("section") if s.attributes.get("aria-labelledby") == "set-apart")
    rows = {row.children[0].text: [cell.text for cell in row.children[1:]] for row in section.all("tbody")[0].all("tr")}
    packages, intervals = 10 * len(night(1).times), 5 * len(night(1).times)
    assert rows["a counter was reset"][:2] == ["package energy samples", "1,570"]
    assert float(rows["a counter was reset"][2].split()[0]) == pytest.approx(157000 / (packages + 1570), abs=0.06)
    assert rows["no energy was measured"][:2] == ["node intervals", "118"]
    assert float(rows["no energy was measured"][2].split()[0]) == pytest.approx(11800 / intervals, abs=0.006)


def test_reasons_that_differ_by_group_name_the_groups(tmp_path, report):
    run = build(tmp_path, [Model(G.FULL, "linear"), Model(G.BPF_ONLY, "linear")], night(0.4))
    part = msgspec.json.decode((run.parts[1] / "part.json").read_bytes())
    part["set_apart"] = {"missing_feature": 12}
    (run.parts[1] / "part.json").write_bytes(msgspec.json.encode(part))

    assert "node intervals, BPFOnly" in check_page(report(run)).text


def test_missing_metrics_are_named_with_what_follows(realistic, report):
    (item,) = (item for item in check_page(report(realistic)).all("li") if item.all("code"))

    assert item.all("code")[0].text == "node_cpu_scaling_frequency_hertz"
    assert "is missing in the window: pipelines get no CPU frequencies" in item.text


def test_gates_idle_and_runtime_are_in_the_details(realistic, report):
    page = check_page(report(realistic))

    details = articles(page)["BPFOnly/additive-network"].all("details")[0]
    assert "pods at rest a pod that does nothing gets 310 mJ" in details.text
    assert [icon.attributes["aria-label"] for icon in details.all("svg") if "icon" in icon.attributes["class"]] == [
        "passed",
        "passed",
        "not passed",
        "passed",
    ]
    assert "worker-c 86.2 W" in details.text
    assert "tensorflow 2.21.0" in page.text


def test_of_many_nodes_those_whose_idle_is_least_sure_are_listed_and_all_are_counted(tmp_path, report):
    nodes = tuple(f"node-{index:02}" for index in range(20))
    run = build(tmp_path, [Model(G.FULL, "linear")], night(0.4, nodes=nodes))

    page = check_page(report(run))

    assert "The least sure of 20 nodes. 20 nodes: quiet intervals." in page.text
    assert sum(node in articles(page)["Full/linear"].text for node in nodes) == 5


def test_each_nodes_idle_has_its_interval_and_what_tells_it(tmp_path, report):
    page = check_page(report(build(tmp_path, [Model(G.FULL, "linear")], night(0.4))))

    (row,) = (row for row in articles(page)["Full/linear"].all("tr") if row.text.startswith("worker-a"))
    assert "51.0 W" in row.text.replace("\N{NARROW NO-BREAK SPACE}", " ")
    assert "46.8 W – 54.6 W" in row.text.replace("\N{NARROW NO-BREAK SPACE}", " ")
    assert "152,880 mJ" in row.text
    assert "quiet intervals" in row.text


def test_what_the_window_cannot_tell_is_said_at_the_top(tmp_path, report):
    models = [Model(G.FULL, "linear", split=GUESS, idle=IdleSource.EXTRAPOLATED), Model(G.COUNTER_ONLY, "linear")]
    page = check_page(report(build(tmp_path, models, night(0.4))))

    split, idle = (one.text for one in page.all("p") if one.attributes.get("class") == "notice")
    assert "the sum is right, the split is a guess" in split
    assert "Together: shop/web, data/postgres. Hardly varying: media/video. (Full)" in split
    assert "3 of 3 nodes never rest, so their idle energy is extrapolated" in idle
    assert "docs/what-to-record.md" in idle
    (table,) = (card for card in page.all("section") if card.attributes.get("aria-labelledby") == "told")
    assert "Full a guess 23.4 3 nodes: extrapolated, never rests" in table.text
    assert "CounterOnly determined 14.2" in table.text


def test_a_window_that_tells_all_is_not_warned_of(tmp_path, report):
    page = check_page(report(build(tmp_path, [Model(G.FULL, "linear")], night(0.4))))

    assert not [one for one in page.all("p") if "notice" in one.attributes.get("class", "")]
    assert "2 nodes alone would not tell, all together do" in page.text


def test_of_a_group_without_signal_nothing_more_is_said_at_the_top(tmp_path, report):
    run = build(tmp_path, [Model(G.KUBELET_ONLY, "linear", error=0.5, champion_error=None, split=GUESS)], night(0.4))

    page = check_page(report(run))

    assert "No model of this group is better than a constant" in page.text
    assert "the split is a guess, and" not in page.all("header")[0].text
    assert page.text.count("Workloads always move together") == 1, "in the details only"


def test_a_notable_bias_stands_beside_the_error(tmp_path, report):
    run = build(tmp_path, [Model(G.FULL, "linear"), Model(G.CGROUP_ONLY, "linear")], night(0.4))
    weak = read_decision(run.decisions[1])
    edit(run.decisions[1], candidate=msgspec.structs.replace(weak.candidate, bias_percent=-18.0))

    shown = articles(check_page(report(run)))

    assert "bias −18" in shown["CgroupOnly/linear"].all("dl")[0].text
    assert "bias" not in shown["Full/linear"].all("dl")[0].text
    assert "(bias −18" in (tmp_path / "report.md").read_text()


def test_a_candidate_that_was_never_scored_has_a_page(tmp_path, report):
    """It trained, but no estimator could load it: no score, no rows in its trace."""
    run = build(tmp_path, [Model(G.FULL, "linear")], night(0.4))
    edit(run.decisions[0], candidate=None, champion=None, improved=False, blocks=(), reason="It does not load.")
    (run.decisions[0] / TRACE_FILE).unlink()
    (run.decisions[0] / CANDIDATE_FILE).unlink()

    page = check_page(report(run, store="ftp://nowhere"))

    assert "It does not load." in articles(page)["Full/linear"].text


def test_a_damaged_champion_is_said_at_the_top(better, report):
    edit(better.decisions[1], champion=None, champion_damage="model.sav differs from its checksum")

    assert "the champion could not be used: model.sav differs" in check_page(report(better)).text


def test_a_folder_that_holds_no_decision_is_refused(better, tmp_path):
    with pytest.raises(BrokenContract, match=r"decision\.json"):
        step.run(
            [tmp_path],
            better.parts,
            str(tmp_path / "store"),
            html=tmp_path / "a.html",
            markdown=tmp_path / "a.md",
        )


def test_markdown_has_a_row_per_model_and_nothing_that_breaks_it(tmp_path, report):
    run = build(tmp_path / "run", [Model(G.FULL, "linear")], night(0.4))
    broken = Model(G.BPF_ONLY, "a|b", error=None, reason="one | two\n<b>three</b> `four` [five](http://six)")
    run.decisions.append(tmp_path / "broken")
    write_decision(run.decisions[-1], broken, night(0.4))

    report(run)

    lines = (tmp_path / "report.md").read_text().splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert len(rows) == 4
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {7}
    assert not any(re.search(r"(?<!\\)(<|\]|`)", line) for line in lines)
    assert lines[0].startswith("**")


def test_the_page_tells_who_signs_and_that_nobody_does_where_that_was_chosen(tmp_path, report, monkeypatch):
    run = build(tmp_path, [Model(G.FULL, "linear", error=0.02, champion_error=0.06)], night(1))
    assert "verified, with keys" in check_page(report(run)).text
    for name in (SIGNING_KEY_FILE, VERIFY_KEYS_FILE):
        monkeypatch.delenv(name)
    monkeypatch.setenv(UNSIGNED, "true")
    assert "none: this run was told to publish and to trust models without a key" in check_page(report(run)).text
    assert "without a key" in (tmp_path / "report.md").read_text()


def test_a_champion_that_was_taken_back_is_said_at_the_top(better, report, tmp_path):
    now, before = (Score(1.0, 1.0, mape_percent, 0.0, 1.0) for mape_percent in (9.0, 4.0))
    canary = Canary(version="v2", before="v1", score=now, before_score=before, noise_percent=25.0, worse=True)
    edit(better.decisions[0], canary=canary, champion_version="v1")

    page = check_page(report(better))

    assert "1 former champion taken back" in page.all("h1")[0].text
    (notice,) = [p.text for p in page.all("p") if "the champion was worse than the one before" in p.text]
    assert "CounterOnly/linear" in notice
    for told in ("v2, served since the last run", "off by 9.00 %", "v1 before it by 4.00 % (± 1.00 %)"):
        assert told in notice
        assert told in (tmp_path / "report.md").read_text().replace("\\", "")


def test_a_champion_that_should_have_been_taken_back_and_is_still_served_is_said(better, report, publish, tmp_path):
    version = publish(better.decisions[0], "v2")
    score, before = Score(1.0, 1.0, 4.0, 0.0, 1.0), Score(1.0, 1.0, 2.0, 0.0, 1.0)
    canary = Canary(version=version, before="v1", score=score, before_score=before, worse=True)
    edit(better.decisions[0], canary=canary, improved=False, champion=before, champion_version="v1")

    page = check_page(report(better))
    pages = {"html": tmp_path / "report.html", "markdown": tmp_path / "report.md"}
    record = step.run(better.decisions, better.parts, str(tmp_path / "store"), **pages)

    assert record.errors["CounterOnly/linear"] == ServiceError("v2", 4.0)

    assert "v2 was to be taken back, but the store still serves it" in page.text
    assert "former champion" not in page.all("h1")[0].text
    for told in (page.text, (tmp_path / "report.md").read_text()):
        assert "it was to be taken back" in told
        assert "it is taken back" not in told
    assert articles(page)["CounterOnly/linear"].attributes["data-outcome"] != "unserved"
