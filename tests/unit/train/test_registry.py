from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from kepler_train.contract.errors import PipelineError, WrongUsage
from kepler_train.contract.features import FeatureGroup
from kepler_train.contract.models import flat_name
from kepler_train.train import registry
from kepler_train.train.pipeline import check_declaration

ALL = [entry for group in FeatureGroup for entry in registry.pipelines_of(group)]


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Puts a distribution with these entry points on the path."""

    def give(points: str, name: str = "their-models"):
        folder = tmp_path / f"{name.replace('-', '_')}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text(f"[kepler_train.pipelines]\n{points}\n")
        (tmp_path / "their_models.py").write_text(
            textwrap.dedent(
                """
                from tests.unit.train.authors import Counters

                class Theirs(Counters):
                    model_name = "theirs"
                """
            )
        )
        monkeypatch.syspath_prepend(str(tmp_path))

    return give


@pytest.mark.parametrize("entry", ALL, ids=str)
def test_a_shipped_class_is_what_the_registry_says(entry):
    pipeline = entry.load()
    assert (check_declaration(pipeline), pipeline.model_name) == (entry.group, entry.model_name)


@pytest.mark.parametrize("group", FeatureGroup)
def test_each_group_has_both_model_classes(group):
    assert {entry.load().model_class for entry in registry.pipelines_of(group)} == {"scikit", "keras"}


def test_names_are_unique_over_all_groups_for_a_flat_folder():
    names = [flat_name(entry.group, entry.model_name) for entry in ALL]
    assert len(set(names)) == len(names)


def test_an_unknown_pipeline_or_group_is_refused_with_the_known_ones():
    with pytest.raises(WrongUsage, match="BPFOnly/linear"):
        registry.find("BPFOnly/none")
    with pytest.raises(WrongUsage, match="CounterOnly"):
        registry.find("Counters/linear")


def test_a_class_of_another_distribution_joins_by_entry_point(installed):
    installed("CounterOnly.theirs = their_models:Theirs")
    entry = registry.find("CounterOnly/theirs")
    assert entry.origin == "their-models"
    assert entry.load().model_name == "theirs"
    assert entry in registry.pipelines_of(FeatureGroup.COUNTER_ONLY)
    assert entry not in registry.pipelines_of(FeatureGroup.BPF_ONLY)


@pytest.mark.parametrize(
    ("point", "said"),
    [
        ("CounterOnly.theirs = no_such_module:Theirs", "CounterOnly/theirs of their-models.*No module named"),
        ("CounterOnly.theirs = their_models:Missing", "CounterOnly/theirs of their-models.*Missing"),
        ("CounterOnly.theirs = their_models:__name__", "not a class derived from"),
        ("CounterOnly.other = their_models:Theirs", "is CounterOnly/theirs by its class"),
    ],
)
def test_an_entry_point_that_fails_is_named_with_its_distribution(installed, point, said):
    installed(point)
    name = point.split(" ")[0].replace(".", "/")
    with pytest.raises(PipelineError, match=said):
        registry.find(name).load()


def test_a_name_that_is_taken_is_refused_with_both_owners(installed):
    installed("CounterOnly.concave = their_models:Theirs")
    with pytest.raises(PipelineError, match="both in kepler-train and in their-models"):
        registry.pipelines_of(FeatureGroup.COUNTER_ONLY)


def test_an_entry_point_without_a_group_is_refused_with_its_owner(installed):
    installed("theirs = their_models:Theirs")
    with pytest.raises(PipelineError, match="'theirs' of their-models"):
        registry.pipelines_of(FeatureGroup.COUNTER_ONLY)


@pytest.mark.parametrize("name", ["CounterOnly.", "CounterOnly.../../x", "CounterOnly.my model"])
def test_an_entry_point_whose_model_no_folder_can_be_named_after_is_refused_with_its_owner(installed, name):
    installed(f"{name} = their_models:Theirs")
    with pytest.raises(PipelineError, match=f"'{name}' of their-models: model_name .* cannot be a folder's name"):
        registry.pipelines_of(FeatureGroup.COUNTER_ONLY)


def test_listing_is_light():
    code = (
        "import sys; from kepler_train.train import registry, step; "
        "from kepler_train.contract.features import FeatureGroup; registry.pipelines_of(FeatureGroup.FULL); "
        "print([m for m in ('sklearn', 'tensorflow', 'pandas', 'scipy') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
