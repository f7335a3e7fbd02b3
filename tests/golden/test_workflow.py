"""The compiled workflow, as kept beside this file. KEPLER_TRAIN_WRITE_GOLDEN=1 writes it anew; read the difference."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from kepler_train.contract.features import FeatureGroup
from kepler_train.train.registry import pipelines_of
from kepler_workflow.policy import Placement, Toleration, read_images
from kepler_workflow.workflow import Catalogue, compile_workflow
from tests.conftest import IN_CI

HERE = Path(__file__).parent
CANARY = {"canary"}
CONFIGURATIONS: dict[str, tuple[Catalogue, Placement]] = {
    "canary": ({FeatureGroup.BPF_ONLY: ("linear",)}, Placement()),
    "default": (
        {group: tuple(entry.model_name for entry in pipelines_of(group)) for group in FeatureGroup},
        Placement(),
    ),
    "two-groups": (
        {FeatureGroup.COUNTER_ONLY: ("linear", "concave-keras"), FeatureGroup.FULL: ("concave",)},
        Placement(
            images=read_images() | {"steps": f"registry.example/kepler-train@sha256:{64 * 'a'}"},
            tolerations=(Toleration("batch", "true", "NoSchedule"), Toleration("spot", "", "NoExecute")),
            node_selector={"kubernetes.io/arch": "amd64"},
            image_pull_secrets=("registry",),
        ),
    ),
}


def read(path: Path) -> Any:
    """The documents of an IR file, without the version of the compiler that wrote it."""
    documents = list(yaml.safe_load_all(path.read_text()))
    documents[0].pop("sdkVersion")
    return documents


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_the_workflow_compiles_to_what_is_kept(name, tmp_path):
    compiled, golden = tmp_path / f"{name}.yaml", HERE / f"{name}.yaml"
    compile_workflow(compiled, *CONFIGURATIONS[name], canary=name in CANARY)
    if os.environ.get("KEPLER_TRAIN_WRITE_GOLDEN"):
        assert not IN_CI, "golden files are written by people, who read the difference, never in CI"
        shutil.copyfile(compiled, golden)
    assert read(compiled) == read(golden)
