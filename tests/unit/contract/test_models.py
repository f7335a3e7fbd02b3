from __future__ import annotations

from hashlib import sha256

import pytest

from kepler_train.contract.errors import BrokenContract
from kepler_train.contract.models import checksums_of


def test_checksums_are_of_all_that_is_published(tmp_path):
    files = ("candidate.json", "model.skops", "model/model.sav", "node_model/model.sav")
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "train.log").write_bytes(b"not published")
    assert checksums_of(tmp_path) == {name: sha256(name.encode()).hexdigest() for name in files}


def test_what_is_no_file_is_named(tmp_path):
    (tmp_path / "model" / "__pycache__").mkdir(parents=True)
    (tmp_path / "model" / "latest").symlink_to("nowhere")
    (tmp_path / "candidate.json").write_bytes(b"{}")
    with pytest.raises(BrokenContract, match=r"__pycache__, .*latest: no file of a model; train it again"):
        checksums_of(tmp_path)
