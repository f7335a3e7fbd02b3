"""Scoring one model: node energies it predicts for a held-out part, kept as a file beside what was measured.

Nothing here knows of candidates, champions or a store, so that it can run in the interpreter that a model was made for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from kepler_train.contract.errors import NotLoadable
from kepler_train.contract.models import idle_of
from kepler_train.contract.parts import IntervalBatch, interval_batches
from kepler_train.estimators.d351cbf import Model

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_LARGEST_MILLIJOULES = 1e100
"""Far above it, squared errors are infinite, and no document holds such a score."""


@dataclass(frozen=True)
class Predictions:
    """Some held-out intervals of one node, (k,) each."""

    node: str
    timestamp_milliseconds: Integers
    block_start_seconds: Integers
    measured_millijoules: Floats
    predicted_millijoules: Floats


def predict(model: Model, idle_millijoules: dict[str, float], part: Path, out: Path) -> None:
    """Write what a model predicts for each node interval of a part, Σ pods + idle of the node, to the file `out`.

    One row group per batch of the part, so that predictions of several models can be read side by side. Raises
    NotLoadable where an estimator could not use the model.
    """

    def of_pods(batch: IntervalBatch) -> Floats:
        powers = model.power_array(request_of(batch, model))
        return batch.sum_over_pods(powers) + idle_of(idle_millijoules, batch.node)

    write_predictions(of_pods, part, out)


def write_predictions(predicted: Callable[[IntervalBatch], Floats], part: Path, out: Path) -> None:
    """Write what a function predicts for each batch of a part's node intervals, (k,), beside what was measured.

    Raises NotLoadable where it predicts more than can be scored.
    """
    schema = pa.schema(
        [
            pa.field("node", pa.dictionary(pa.int32(), pa.string())),
            *(pa.field(name, pa.int64()) for name in ("timestamp_milliseconds", "block_start_seconds")),
            *(pa.field(name, pa.float64()) for name in ("measured_millijoules", "predicted_millijoules")),
        ]
    )
    with pq.ParquetWriter(out, schema) as writer:
        for batch in interval_batches(part):
            energies = predicted(batch)
            if not (np.abs(energies) < _LARGEST_MILLIJOULES).all():
                raise NotLoadable(
                    f"{np.abs(energies).max():.3g} mJ are predicted for {batch.node} in one interval, too much to be "
                    "scored; give powers and idle energies in mJ per interval, and a model that does not run away"
                )
            columns = [
                pa.DictionaryArray.from_arrays(np.zeros(len(batch), np.int32), pa.array([batch.node])),
                pa.array(batch.timestamp_milliseconds),
                pa.array(batch.block_start_seconds),
                pa.array(batch.energy_millijoules),
                pa.array(energies),
            ]
            writer.write_table(pa.table(columns, schema=schema), row_group_size=len(batch))


def request_of(batch: IntervalBatch, model: Model) -> npt.NDArray[np.float64] | npt.NDArray[np.object_]:
    """The (m, n) array an estimator would form for this model: the batch's features in the model's order."""
    features = model.metadata.features
    if set(features) != set(batch.features):
        raise NotLoadable(f"{model.metadata.model_name} asks for {', '.join(features)}: not the features of its group")
    return batch.request()[:, [batch.features.index(feature) for feature in features]]


def read_predictions(path: Path) -> Iterator[Predictions]:
    """Go through a file that `predict` wrote, batch by batch of the part."""
    with pq.ParquetFile(path) as file:
        for index in range(file.num_row_groups):
            rows = file.read_row_group(index)
            yield Predictions(
                rows.column("node")[0].as_py(), *(rows.column(name).to_numpy() for name in rows.column_names[1:])
            )
