from __future__ import annotations

from hashlib import sha256

import pytest

from kepler_train.contract.errors import BrokenContract
from kepler_train.contract.models import checksums_of


def test_checksums_are_of_the_files_of_both_models(tmp_path):
    for folder in ("model", "node_model"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "model.sav").write_bytes(folder.encode())
    assert checksums_of(tmp_path) == {
        f"{folder}/model.sav": sha256(folder.encode()).hexdigest() for folder in ("model", "node_model")
    }


def test_what_is_no_file_is_named(tmp_path):
    (tmp_path / "model" / "__pycache__").mkdir(parents=True)
    (tmp_path / "model" / "latest").symlink_to("nowhere")
    with pytest.raises(BrokenContract, match=r"__pycache__, .*latest: no file of a model; train it again"):
        checksums_of(tmp_path)
