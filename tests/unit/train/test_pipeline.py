from __future__ import annotations

import gc
import subprocess
import sys

import numpy as np
import pytest

from kepler_train.contract.errors import PipelineError, WrongUsage
from kepler_train.contract.features import COUNTER_FEATURES, FeatureGroup
from kepler_train.train.pipeline import TrainPipeline, check_declaration
from tests.unit.train.authors import Counters, Streams


def declared(**attributes):
    good = {"model_name": "m", "model_class": "scikit", "model_file": "model.sav", "features": COUNTER_FEATURES}
    return type("Mine", (TrainPipeline,), {**good, **attributes, "train": lambda self, *frames: None})


def test_the_group_is_found_from_the_features_whatever_their_order():
    assert check_declaration(Counters) is FeatureGroup.COUNTER_ONLY
    assert check_declaration(declared(features=FeatureGroup.FULL.features[::-1])) is FeatureGroup.FULL


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"model_name": ""}, "declares no model_name"),
        ({"model_name": "a/b"}, "cannot be a folder's name"),
        ({"model_name": "../up"}, "cannot be a folder's name"),
        ({"model_name": 3}, "cannot be a folder's name"),
        ({"model_class": "torch"}, "'torch' is not scikit or keras"),
        ({"model_file": "model.h5"}, "use 'model.sav'"),
        ({"model_class": "keras"}, "use 'model.h5'"),
        ({"features": ()}, "declares no features"),
        ({"features": "curr_cpu_time"}, "is not a sequence of names"),
        ({"features": np.array(COUNTER_FEATURES)}, "is not a sequence of names; give a list"),
        ({"features": property(lambda self: COUNTER_FEATURES)}, "is not a sequence of names"),
        ({"features": 5}, "is not a sequence of names"),
        ({"features": [["curr_cpu_time"]]}, "is not a sequence of names"),
        ({"model_class": ["scikit"]}, "is not scikit or keras"),
        ({"model_file": np.array(["model.sav"])}, "use 'model.sav'"),
        ({"max_pod_rows": 0}, "no positive whole number"),
    ],
)
def test_a_declaration_that_breaks_the_format_is_refused(attributes, said):
    with pytest.raises(PipelineError, match=said):
        check_declaration(declared(**attributes))


def test_features_of_no_group_are_refused_with_the_six_groups_listed():
    with pytest.raises(WrongUsage) as refused:
        declared(features=("curr_cpu_time", "curr_cpu_cycles"))()
    assert all(group.value in str(refused.value) for group in FeatureGroup)
    assert "Mine" in str(refused.value)


def test_batches_come_in_the_order_of_the_classs_features(part_of):
    from kepler_train.contract.parts import interval_batches

    part = part_of(FeatureGroup.COUNTER_ONLY)
    usual, own = next(interval_batches(part)), next(Streams().in_own_order(interval_batches(part)))
    assert own.features == Streams.features
    assert (own.pods == usual.pods[:, ::-1]).all()


def test_the_format_is_exported_without_importing_what_trains():
    code = (
        "import sys; from kepler_train import Fitted, StreamingPipeline, TrainPipeline; "
        "print([m for m in ('sklearn', 'tensorflow', 'pandas', 'scipy') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_a_pipeline_without_a_folder_leaves_none_behind(tmp_path):
    own, given = Counters(), Counters(tmp_path)
    folder = own.folder
    assert folder.is_dir()
    del own, given
    gc.collect()
    assert not folder.exists()
    assert tmp_path.is_dir()
