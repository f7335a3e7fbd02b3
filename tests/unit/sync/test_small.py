"""What a sync needs is what its own lock file lists: nothing of what training needs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path
from textwrap import dedent

from tests.unit.publish.candidates import publish

LOCK = Path(__file__).parents[3] / "requirements" / "sync.lock"
HEAVY = {"numpy", "pandas", "pyarrow", "scipy", "sklearn", "tensorflow", "keras", "kfp", "requests", "jinja2"}

SYNC_WITH_NOTHING_ELSE = dedent("""
    import json, sys

    allowed = {*sys.stdlib_module_names, "kepler_train", *json.loads(sys.argv[1])}

    class Refuse:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] not in allowed:
                raise ModuleNotFoundError(f"{name} is not in requirements/sync.lock")

    sys.meta_path.insert(0, Refuse())
    sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in repr(finder)]
    import kepler_train.sync.health, kepler_train.sync.loop
    from kepler_train.cli import main

    sys.exit(main(sys.argv[2:]))
""")


def modules_of_the_lock() -> set[str]:
    locked = {name.lower() for name in re.findall(r"^([A-Za-z0-9._-]+)==", LOCK.read_text(), re.MULTILINE)}
    return {
        module
        for module, distributions in packages_distributions().items()
        if locked & {re.sub(r"[-_.]+", "-", name).lower() for name in distributions}
    }


def test_a_sync_needs_nothing_but_its_own_lock(address, tmp_path):
    publish(tmp_path, address)
    modules = modules_of_the_lock()
    assert {"minio", "msgspec", "prometheus_client"} <= modules
    assert not modules & HEAVY
    words = ["sync", "--store", address, "--into", str(tmp_path / "models")]
    done = subprocess.run(
        [sys.executable, "-c", SYNC_WITH_NOTHING_ELSE, json.dumps(sorted(modules)), *words],
        capture_output=True,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path / "nowhere")},
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "models" / "current").is_dir()
