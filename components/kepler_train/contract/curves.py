"""The curve of one pod's power over its activity, as evaluation leaves it for a page: `curve.json`."""

from __future__ import annotations

from kepler_train.contract.documents import Document

CURVE_FILE = "curve.json"


class PodCurve(Document, frozen=True, kw_only=True):
    """What a candidate answers for one pod that does nothing, and ever more of what the mean pod does."""

    feature: str = ""
    """Varied from 0 to its largest held-out value; every other feature grows in proportion, as in the mean pod row."""
    mean: float = 0.0
    """The feature's value in the mean of all held-out pod rows."""
    cpu_architecture: str = ""
    """Held fixed, where the group has it: the one of most held-out pod rows."""
    values: tuple[float, ...] = ()
    """Of the feature, ascending; empty where there is a problem."""
    millijoules: tuple[float, ...] = ()
    """What the candidate answers for each, per interval."""
    problem: str = ""
    """Why there is no curve, where there is none."""
