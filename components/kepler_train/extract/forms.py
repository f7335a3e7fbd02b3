"""Which labels of the four metrics become which columns."""

from __future__ import annotations

from dataclasses import dataclass, replace

from kepler_train.contract.features import ARCHITECTURE, WORKLOAD_FEATURES, exporter_label
from kepler_train.contract.tables import (
    FREQUENCY,
    METRIC_OF_TABLE,
    NODE_ENERGY_PARTS,
    NODE_STAT,
    PACKAGE,
    POD_STAT,
    SCHEMAS,
)

TIMESTAMP, NODE, JOB = "timestamp", "node", "job"
_NODE_LABEL = ("instance", NODE)


@dataclass(frozen=True)
class Form:
    """Which labels of a metric become which raw columns."""

    table: str
    names: tuple[tuple[str, str], ...]
    """(label, column) of names; an absent label and an empty one are the same to Prometheus."""
    numbers: tuple[tuple[str, str], ...]
    """(label, column) of numbers."""
    value: str
    """Column of the sample's value; it may be none of the table's."""

    @property
    def metric(self) -> str:
        """The metric's name."""
        return METRIC_OF_TABLE[self.table]

    @property
    def of_one_node(self) -> Form:
        """The same without the node's name, for samples that were asked of one: the shorter to decode."""
        return replace(self, names=tuple(name for name in self.names if name != _NODE_LABEL))

    @property
    def number_columns(self) -> tuple[str, ...]:
        """The table's columns of numbers."""
        columns = (*(column for _, column in self.numbers), self.value)
        return tuple(column for column in columns if column in SCHEMAS[self.table].names)


_NODE_NUMBERS = (
    *(f"node_curr_{feature.removeprefix('curr_')}" for feature in WORKLOAD_FEATURES),
    *(f"node_curr_energy_in_{part}_joule" for part in NODE_ENERGY_PARTS),
)

POD_FORM = Form(
    POD_STAT,
    (_NODE_LABEL, ("pod_name", "pod_name"), ("pod_namespace", "pod_namespace")),
    tuple((exporter_label(feature), feature) for feature in WORKLOAD_FEATURES),
    "pod_energy_millijoules",
)
NODE_FORM = Form(
    NODE_STAT,
    (_NODE_LABEL, (JOB, JOB), (ARCHITECTURE, ARCHITECTURE)),
    tuple((label, label) for label in _NODE_NUMBERS),
    "sensor_energy_joules",
)
FREQUENCY_FORM = Form(FREQUENCY, (_NODE_LABEL, (JOB, JOB), ("cpu", "cpu")), (), "frequency_hertz")
PACKAGE_FORM = Form(
    PACKAGE,
    (_NODE_LABEL, ("pkg_id", "pkg_id")),
    tuple((part, f"{part}_energy_millijoules") for part in ("core", "dram", "uncore")),
    "package_energy_millijoules",
)
FORMS = (NODE_FORM, FREQUENCY_FORM, PACKAGE_FORM, POD_FORM)
"""In the order of reading: what the node says of itself comes before what is judged by it."""
