"""Every page is well-formed, complete in itself, readable without a mouse or colour, and holds nothing unescaped."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from dataclasses import replace

import msgspec
import pytest

from kepler_train.contract.curves import CURVE_FILE, PodCurve
from kepler_train.contract.features import FeatureGroup
from kepler_train.contract.models import DECISION_FILE, WholeNode, read_decision
from kepler_train.report import evaluation
from tests.unit.report.builders import Model, build, night, realistic_models, realistic_run
from tests.unit.report.html_check import check_page

HOSTILE = "</style><script>alert(1)</script><img src=x onerror=alert(2)>\"'&amp;{{ 7 * 7 }}"

RUNS = {
    "all failed": [replace(model, error=None) for model in realistic_models()],
    "first run": [replace(model, champion_error=None) for model in realistic_models()],
    "one group": realistic_models()[5:7],
    "one model that failed": [Model(FeatureGroup.FULL, "linear", error=None, champion_error=None)],
    "24 candidates": [
        Model(group, f"pipeline-{index}", error=0.02 + 0.01 * index) for group in FeatureGroup for index in range(4)
    ],
}


def names_of(run):
    decisions = [read_decision(folder) for folder in run.decisions]
    return Counter(f"{decision.group.value}/{decision.model_name}" for decision in decisions)


def test_every_decision_is_on_the_leaderboard_exactly_once(realistic, report):
    page = check_page(report(realistic))

    assert Counter(entry.attributes["data-model"] for entry in page.all("article")) == names_of(realistic)


@pytest.mark.parametrize("kind", RUNS)
def test_unusual_runs_have_whole_pages(kind, tmp_path, report):
    run = build(tmp_path, RUNS[kind], night(0.4))

    page = check_page(report(run))

    assert Counter(entry.attributes["data-model"] for entry in page.all("article")) == names_of(run)


def test_the_page_of_every_evaluation_is_whole(realistic, tmp_path):
    for folder in realistic.decisions:
        evaluation.write(folder, tmp_path / "page.html")
        page = check_page((tmp_path / "page.html").read_text())
        decision = read_decision(folder)
        assert page.all("h1")[0].text == f"{decision.group.value}/{decision.model_name}"
        assert decision.reason in page.text


def test_an_evaluation_shows_what_became_of_the_model_of_the_whole_node(realistic, tmp_path):
    folder = next(folder for folder in realistic.decisions if read_decision(folder).candidate)
    decided = read_decision(folder)
    shutil.copytree(folder, tmp_path / "decision")
    whole_node = WholeNode(usable=False, reason=f"no better than noise {HOSTILE}", score=decided.candidate)
    msgspec.structs.replace(decided, whole_node=whole_node).write(tmp_path / "decision" / DECISION_FILE)
    evaluation.write(tmp_path / "decision", tmp_path / "page.html")
    assert (
        f"no better than noise {HOSTILE}; it is not published." in check_page((tmp_path / "page.html").read_text()).text
    )
    figures = evaluation.metrics(read_decision(tmp_path / "decision"))
    assert figures["whole_node_error_percent"] == figures["candidate_error_percent"]


def evaluation_page(run, folder, curve):
    """The page of a decision with another curve, or with none."""
    shutil.copytree(run.decisions[0], folder / "decision")
    (folder / "decision" / CURVE_FILE).unlink()
    if curve is not None:
        curve.write(folder / "decision" / CURVE_FILE)
    evaluation.write(folder / "decision", folder / "page.html")
    return check_page((folder / "page.html").read_text())


def curves_on(page):
    return [svg for svg in page.all("svg") if svg.attributes.get("aria-label", "").startswith("Power of one pod")]


def test_an_evaluation_draws_the_power_of_one_pod_and_says_what_is_held(realistic, tmp_path):
    curve = PodCurve(
        feature="curr_cpu_cycles",
        mean=1e9,
        cpu_architecture="Ice Lake",
        values=(0, 2e9, 4e9),
        millijoules=(0, 6e4, 9e4),
    )
    page = evaluation_page(realistic, tmp_path, curve)
    (plot,) = curves_on(page)
    (line,) = plot.all("path")
    assert line.attributes["d"] == "M0.0 100.00 500.0 33.33 1000.0 0.00"
    assert "mean pod" in plot.text
    assert "3\N{NARROW NO-BREAK SPACE}G" in "".join(plot.all("text")[-2].words)
    assert "every other usage feature is held in proportion to it" in page.text
    assert "the architecture at Ice Lake" in page.text


@pytest.mark.parametrize("value", [0.0, 1e-4, 1e7])
def test_curves_of_any_height_are_drawn(realistic, tmp_path, value):
    curve = PodCurve(feature="curr_cpu_time", mean=0.5, values=(0.0, 0.7), millijoules=(value, value))
    assert len(curves_on(evaluation_page(realistic, tmp_path, curve))) == 1


def test_where_a_model_fails_beyond_what_was_held_out_the_page_says_so(realistic, tmp_path):
    page = evaluation_page(realistic, tmp_path, PodCurve(feature="curr_cpu_time", problem=f"it fails {HOSTILE}"))
    assert not curves_on(page)
    assert f"There is no curve: it fails {HOSTILE}." in page.text


def test_without_a_curve_the_page_does_not_speak_of_one(realistic, tmp_path):
    assert "Power of one pod" not in evaluation_page(realistic, tmp_path, None).text


def test_text_from_outside_never_becomes_markup(tmp_path, report):
    models = [
        Model(FeatureGroup.FULL, HOSTILE, error=None, reason=HOSTILE),
        Model(FeatureGroup.BPF_ONLY, "linear", HOSTILE, gate=HOSTILE, notes=(HOSTILE,)),
    ]
    run = build(
        tmp_path,
        models,
        night(0.4, nodes=(HOSTILE, "b")),
        set_apart={HOSTILE: {HOSTILE: 3}},
        part_set_apart={HOSTILE: 2},
        without_signal={FeatureGroup.BPF_ONLY: (HOSTILE,)},
        missing_metrics=(HOSTILE,),
    )
    evaluation.write(run.decisions[1], tmp_path / "page.html")

    for html in (report(run, store=f"s3://{HOSTILE}"), (tmp_path / "page.html").read_text()):
        page = check_page(html)
        assert HOSTILE in page.text
        assert "49" not in page.all("h1")[0].text


def test_a_day_of_many_nodes_stays_a_small_page(tmp_path, report):
    run = realistic_run(tmp_path, hours=24)

    html = report(run)

    check_page(html)
    assert len(html) < 600_000


def test_text_and_marks_have_enough_contrast_in_both_modes(realistic, report):
    style = check_page(report(realistic)).all("style")[0].text
    light, dark = (
        dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", block)) for block in re.findall(r":root \{([^}]*)\}", style)
    )
    for mode in (light, dark):
        for text in ("ink", "muted", "good", "warn", "bad", "candidate", "champion"):
            for ground in ("page", "card"):
                assert contrast(mode[text], mode[ground]) >= 4.5, (text, ground)
        for text in ("good", "warn", "bad"):
            assert contrast(mode[text], mode[f"{text}-tint"]) >= 4.5, text
        for tint in ("warn-tint", "bad-tint", "plain-tint"):
            assert contrast(mode["ink"], mode[tint]) >= 4.5, tint


def contrast(one: str, other: str) -> float:
    """WCAG 2 contrast ratio of two colours."""
    low, high = sorted(luminance(colour) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
