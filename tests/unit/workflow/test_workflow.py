"""What holds for every compiled workflow, whatever its pipelines."""

from __future__ import annotations

import ast
import inspect

import pytest
import yaml

from kepler_train.contract.errors import WrongUsage
from kepler_train.contract.features import FeatureGroup
from kepler_train.contract.runtimes import RUNTIMES
from kepler_workflow import steps
from kepler_workflow.policy import Placement
from kepler_workflow.workflow import build_workflow, compile_workflow

CATALOGUE = {FeatureGroup.COUNTER_ONLY: ("linear", "additive-spline"), FeatureGroup.FULL: ("keras_net",)}
MODELS = [f"{group.value} / {name}" for group, names in CATALOGUE.items() for name in names]


def read(path):
    return next(yaml.safe_load_all(path.read_text()))


@pytest.fixture(scope="module")
def ir(tmp_path_factory):
    path = tmp_path_factory.mktemp("ir") / "workflow.yaml"
    compile_workflow(path, CATALOGUE)
    return read(path)


@pytest.fixture(scope="module")
def dags(ir):
    """Name of a graph to its tasks."""
    nested = {name: component["dag"]["tasks"] for name, component in ir["components"].items() if "dag" in component}
    return {"root": ir["root"]["dag"]["tasks"], **nested}


@pytest.fixture(scope="module")
def tasks(ir, dags):
    """Display name of a task, sub-workflows left out, to the task."""
    return {
        task["taskInfo"]["name"]: task
        for graph in dags.values()
        for task in graph.values()
        if "executorLabel" in ir["components"][task["componentRef"]["name"]]
    }


def component_of(ir, task):
    return ir["components"][task["componentRef"]["name"]]


def container_of(ir, task):
    return ir["deploymentSpec"]["executors"][component_of(ir, task)["executorLabel"]]["container"]


def test_every_task_has_a_name_that_people_read(tasks):
    of_groups = [f"{group.value}: assemble" for group in CATALOGUE]
    of_models = [f"{model}: {step}" for model in MODELS for step in ("train", "evaluate", "publish")]
    assert sorted(tasks) == sorted(["resolve", "extract", *of_groups, *of_models, "report", "verdict", "notify"])


def test_a_group_is_a_sub_workflow_named_after_it(ir, dags):
    groups = [
        task["taskInfo"]["name"] for task in dags["comp-exit-handler-1"].values() if "dag" in component_of(ir, task)
    ]
    assert groups == ["CounterOnly", "Full"]


def test_artifacts_have_the_names_that_the_graph_shows(ir, tasks):
    def artifacts(name):
        return set(component_of(ir, tasks[name])["outputDefinitions"].get("artifacts", {}))

    assert artifacts("extract") == {"window"}
    assert artifacts("CounterOnly: assemble") == {"training_part", "held_out_part"}
    assert artifacts("CounterOnly / linear: train") == {"candidate"}
    assert artifacts("CounterOnly / linear: evaluate") == {"decision", "evaluation", "metrics"}
    assert artifacts("report") == {"leaderboard", "summary"}


def test_only_assembly_and_training_are_cached(tasks):
    cached = {name for name, task in tasks.items() if task["cachingOptions"].get("enableCache")}
    assert cached == {name for name in tasks if name.endswith((": assemble", ": train"))}


def test_every_task_states_its_resources(ir, tasks):
    for name, task in tasks.items():
        resources = container_of(ir, task)["resources"]
        stated = {"resourceCpuRequest", "resourceCpuLimit", "resourceMemoryRequest", "resourceMemoryLimit"}
        assert stated <= set(resources), name


def test_what_makes_or_opens_models_runs_in_the_image_of_its_runtime(tmp_path):
    placement = Placement(runtime=RUNTIMES["estimator-2022"])
    path = tmp_path / "workflow.yaml"
    compile_workflow(path, CATALOGUE, placement)
    ir = next(yaml.safe_load_all(path.read_text()))
    images = {executor["container"]["image"]: set() for executor in ir["deploymentSpec"]["executors"].values()}
    for component in ir["components"].values():
        if "executorLabel" in component:
            container = ir["deploymentSpec"]["executors"][component["executorLabel"]]["container"]
            images[container["image"]].add(component["executorLabel"].rpartition("-")[2])
    assert images[placement.images["runtime-estimator-2022"]] == {"train", "evaluate"}
    assert images.keys() == {placement.images["steps"], placement.images["runtime-estimator-2022"]}


def test_nothing_is_installed_when_a_task_starts(ir, tasks):
    for name, task in tasks.items():
        assert "pip" not in " ".join(container_of(ir, task)["command"][:-1]), name


def test_a_model_is_published_only_if_its_own_evaluation_says_improved(dags):
    conditions = {
        task["taskInfo"]["name"]: task["triggerPolicy"]["condition"]
        for graph in dags.values()
        for task in graph.values()
        if "condition" in task.get("triggerPolicy", {})
    }
    assert conditions == {
        f"{title}: if improved": f"inputs.parameter_values['pipelinechannel--{name}-evaluate-Output'] == true"
        for title, name in zip(
            MODELS, ["counteronly-linear", "counteronly-additive-spline", "full-keras-net"], strict=True
        )
    }


def test_compiling_again_gives_the_same(ir, tmp_path):
    compile_workflow(tmp_path / "again.yaml", CATALOGUE)
    assert read(tmp_path / "again.yaml") == ir


def test_each_decision_leaves_its_group_under_its_own_name(ir, dags):
    outputs = ir["components"]["comp-counteronly"]["dag"]["outputs"]["artifacts"]
    producers = {
        name: dags["comp-counteronly"][output["artifactSelectors"][0]["producerSubtask"]]["taskInfo"]["name"]
        for name, output in outputs.items()
    }
    assert producers == {
        "linear_decision": "CounterOnly / linear: evaluate",
        "additive_spline_decision": "CounterOnly / additive-spline: evaluate",
        "held_out_part": "CounterOnly: assemble",
    }


def test_the_report_gets_every_decision_and_the_last_task_ends_the_run_red_after_it(tasks):
    assert set(tasks["report"]["inputs"]["artifacts"]) == {
        "CounterOnly_linear_decision",
        "CounterOnly_additive_spline_decision",
        "Full_keras_net_decision",
        "CounterOnly_held_out_part",
        "Full_held_out_part",
    }
    assert {"counteronly", "full"} <= set(tasks["report"]["dependentTasks"])
    assert tasks["verdict"]["dependentTasks"] == ["report"]


def test_the_end_is_told_whatever_happened(tasks):
    assert tasks["notify"]["triggerPolicy"]["strategy"] == "ALL_UPSTREAM_TASKS_COMPLETED"


def test_no_parameter_takes_a_secret_and_each_is_explained(ir):
    parameters = ir["root"]["inputDefinitions"]["parameters"]
    assert set(parameters) == {"store", "prometheus_url", "selector", "last", "start", "end", "recordings"}
    assert all(parameter["description"] for parameter in parameters.values())


def test_several_extractions_are_tasks_of_their_own_and_every_group_gets_all_their_windows(tmp_path):
    compile_workflow(tmp_path / "workflow.yaml", CATALOGUE, extract_tasks=3)
    ir = read(tmp_path / "workflow.yaml")
    tasks = ir["components"]["comp-exit-handler-1"]["dag"]["tasks"]
    extracts = {name: task for name, task in tasks.items() if name.endswith("extract")}
    assert [task["taskInfo"]["name"] for task in extracts.values()] == [f"nodes {n} of 3: extract" for n in (1, 2, 3)]
    shares = [task["inputs"]["parameters"] for task in extracts.values()]
    assert [(s["share"], s["shares"]) for s in shares] == [
        ({"runtimeValue": {"constant": float(n)}}, {"runtimeValue": {"constant": 3.0}}) for n in (1, 2, 3)
    ]
    for group in ("counteronly", "full"):
        given = tasks[group]["inputs"]["artifacts"]
        assert [artifact["taskOutputArtifact"]["producerTask"] for artifact in given.values()] == list(extracts)
        assemble = ir["components"][f"comp-{group}"]["dag"]["tasks"][f"{group}-assemble"]
        assert set(assemble["inputs"]["artifacts"]) == {"window_1", "window_2", "window_3"}
    assert not extracts.keys() & set(tasks["report"]["dependentTasks"])


def test_no_extraction_is_refused():
    with pytest.raises(WrongUsage, match="by 0 tasks; give a number from 1"):
        build_workflow(CATALOGUE, extract_tasks=0)


def test_two_models_whose_outputs_would_have_one_name_are_refused():
    with pytest.raises(WrongUsage, match="a-b, a_b; rename one"):
        build_workflow({FeatureGroup.FULL: ("a-b", "a_b")})


def test_a_model_whose_name_begins_with_a_digit_compiles(tmp_path):
    compile_workflow(tmp_path / "workflow.yaml", {FeatureGroup.FULL: ("2-knots",)})
    outputs = read(tmp_path / "workflow.yaml")["components"]["comp-full"]["dag"]["outputs"]["artifacts"]
    assert set(outputs) == {"model_2_knots_decision", "held_out_part"}


def test_a_workflow_without_pipelines_is_refused():
    with pytest.raises(WrongUsage, match="no training pipeline"):
        build_workflow({FeatureGroup.FULL: ()})


def test_tasks_decide_nothing():
    branches = (ast.If, ast.IfExp, ast.For, ast.While, ast.Try, ast.With)
    made = (
        steps._ASSEMBLE_SOURCE.format(inputs="", windows=""),
        steps._REPORT_SOURCE.format(inputs="", decisions="", parts=""),
    )
    for source in (inspect.getsource(steps), *made):
        assert not [node for node in ast.walk(ast.parse(source)) if isinstance(node, branches)]
