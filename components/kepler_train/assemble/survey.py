"""What has to be known of a whole window before its first interval can be judged: packages and architecture by node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from kepler_train.assemble.shard import read_table
from kepler_train.contract.features import ARCHITECTURE
from kepler_train.contract.tables import NODE_STAT, PACKAGE
from kepler_train.contract.window import shard_node, shards_of

UNKNOWN_ARCHITECTURE = "unknown"


@dataclass(frozen=True)
class Survey:
    """A window's shards, by node and time, and what only the whole of them tells."""

    shards: tuple[Path, ...]
    packages: dict[str, tuple[str, ...]]
    """Node to every package that it ever reported."""
    architectures: dict[str, str]
    """Node to its CPU architecture as last reported, `unknown` where it never was."""

    @property
    def has_packages(self) -> bool:
        """Tell whether any node of the window reported package energies."""
        return any(self.packages.values())


def survey(windows: Sequence[Path]) -> Survey:
    """Go once through the shards of a window, which may lie in several folders, reading names only."""
    shards = tuple(sorted((shard for window in windows for shard in shards_of(window)), key=lambda shard: shard.name))
    packages: dict[str, set[str]] = {}
    architectures: dict[str, str] = {}
    for shard in shards:
        node = shard_node(shard)
        packages.setdefault(node, set()).update(_names(shard, PACKAGE, "pkg_id"))
        known = _names(shard, NODE_STAT, ARCHITECTURE)
        architectures[node] = known[-1] if known else architectures.get(node, UNKNOWN_ARCHITECTURE)
    return Survey(shards, {node: tuple(sorted(names)) for node, names in packages.items()}, architectures)


def _names(shard: Path, table: str, column: str) -> list[str]:
    """The distinct names in a column, in order of first appearance, without missing and empty ones."""
    distinct = pc.unique(read_table(shard, table, [column]).column(column))
    return [name for name in distinct.cast(pa.string()).to_pylist() if name]
