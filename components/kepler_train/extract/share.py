"""Several extractions of one window: which nodes each of them takes."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

from kepler_train.contract.errors import WrongUsage


@dataclass(frozen=True)
class Share:
    """The nodes that extraction `number` of `of` takes, counted from 1.

    A node's name alone tells its share: extractions that see other lists of nodes, as of a cluster that changes, take
    none twice and leave none out.
    """

    number: int = 1
    of: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise WrongUsage(f"there is no share {self.number} of {self.of}; count from 1")

    def holds(self, node: str) -> bool:
        """Tell whether a node is of this share."""
        digest = blake2b(node.encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") % self.of == self.number - 1


WHOLE = Share()
