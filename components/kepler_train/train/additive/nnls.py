"""Non-negative least squares on the normal equations."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

_JITTER = 1e-12
"""Added to the unit diagonal, so that columns that repeat each other still factorise."""


def nnls(gram: Array, moment: Array) -> Array:
    """Minimise θᵀGθ − 2θᵀc over θ ≥ 0; G is (p, p) positive semi-definite, c is (p,).

    Columns are brought to one length first; a column of zeros gets the coefficient 0.
    """
    from scipy.linalg import solve_triangular
    from scipy.optimize import nnls as solve

    length = np.sqrt(np.maximum(np.diag(gram), 0.0))
    used = length > 0
    solution = np.zeros(len(moment))
    if used.any():
        unit = length[used]
        correlation = gram[np.ix_(used, used)] / np.outer(unit, unit) + _JITTER * np.eye(len(unit))
        factor = _factor(correlation)
        solution[used] = solve(factor.T, solve_triangular(factor, moment[used] / unit, lower=True))[0] / unit
    return solution


def _factor(correlation: Array) -> Array:
    """Cholesky's L, of the nearest matrix that has one: rounding can leave eigenvalues a little below zero."""
    try:
        return np.asarray(np.linalg.cholesky(correlation))
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(correlation)
        root = vectors * np.sqrt(np.maximum(values, _JITTER))
        return np.asarray(np.linalg.qr(root.T)[1].T)
