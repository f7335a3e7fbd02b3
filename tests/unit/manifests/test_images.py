"""What holds for every image, as written; that they build is tried where there is a container engine."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kepler_train.contract.runtimes import RUNTIMES
from kepler_workflow import policy

ROOT = Path(__file__).parents[3]
NAMES = sorted(file.name.removesuffix(".Dockerfile") for file in (ROOT / "images").glob("*.Dockerfile"))


def instructions(name):
    """Pairs of an instruction and what it says, in order; continued lines joined, comments left out."""
    text = re.sub(r"^#.*\n", "", (ROOT / "images" / f"{name}.Dockerfile").read_text(), flags=re.MULTILINE)
    return [line.split(maxsplit=1) for line in text.replace("\\\n", " ").splitlines() if line]


def test_there_is_an_image_for_every_name_that_the_workflow_and_the_builds_know():
    described = re.findall(r'dockerfile = "images/(.+)\.Dockerfile"', (ROOT / "images" / "docker-bake.hcl").read_text())
    assert set(NAMES) == set(policy.read_images()) == set(described)
    assert {runtime.image for runtime in RUNTIMES.values()} <= set(NAMES)
    made = re.search(r"^IMAGES \?= (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert sorted(made[1].split()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_an_image_holds_what_is_locked_and_its_bill_and_runs_as_a_number_that_is_not_root(name):
    written = instructions(name)
    last = written[max(index for index, (word, _) in enumerate(written) if word == "FROM") :]
    installs = [step for word, step in written if word == "RUN" for step in step.split("&&") if "bin/pip" in step]
    assert dict(last)["USER"] == f"{policy.USER_ID}:{policy.USER_ID}"
    assert not [word for word, _ in last if word == "RUN"], "what builds stays in the first stage"
    assert all("--require-hashes" in step or "--no-deps" in step for step in installs)
    assert any("--require-hashes" in step and f"-r /src/requirements/{name}.lock" in step for step in installs)
    assert any("cyclonedx-py environment" in step for _, step in written)
    for label in ("title", "description", "source", "licenses", "version", "revision"):
        assert f"org.opencontainers.image.{label}=" in dict(last)["LABEL"]


@pytest.mark.parametrize(("name", "absent"), [("steps", "tensorflow"), ("sync", "numpy"), ("sync", "tensorflow")])
def test_large_libraries_are_only_where_they_are_used(name, absent):
    assert f"\n{absent}" not in (ROOT / "requirements" / f"{name}.lock").read_text()


def test_pinning_puts_digests_where_images_are_named(tmp_path):
    for part in ("images", "pipelines/kepler_workflow", "manifests"):
        shutil.copytree(ROOT / part, tmp_path / part)
    before = policy.read_images()
    metadata = {
        name: {"image.name": f"registry.example/{name}:1", "containerimage.digest": f"sha256:{name}"} for name in before
    }
    (tmp_path / "metadata.json").write_text(json.dumps({**metadata, "buildx.build.ref": "a/b"}))
    pin = [sys.executable, tmp_path / "images" / "pin.py", tmp_path / "metadata.json"]
    subprocess.run(pin, check=True)
    pinned = json.loads((tmp_path / "pipelines" / "kepler_workflow" / "images.json").read_text())
    assert pinned == {name: f"registry.example/{name}:1@sha256:{name}" for name in before}
    patch = (tmp_path / "manifests" / "components" / "estimator-sync" / "patch.yaml").read_text()
    assert patch.count(f"image: {pinned['sync']}\n") == 2
    assert before["sync"] + "\n" not in patch

    del metadata["sync"]["containerimage.digest"]
    (tmp_path / "metadata.json").write_text(json.dumps(metadata))
    refused = subprocess.run(pin, capture_output=True, text=True)
    assert refused.returncode == 1
    assert "sync was not pushed" in refused.stderr
