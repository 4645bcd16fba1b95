"""How long a layer takes as a dense matrix and as a sparse one, over the share of zeros. Introduced in chapter 08."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from threadpoolctl import threadpool_limits

from course_lib.analysis.roofline import median_seconds


@dataclass(frozen=True)
class SparseTimes:
    """How long a layer takes as a dense matrix, and as a sparse one at each of ``sparsities`` (ascending)."""

    sparsities: NDArray[np.float64]
    dense: float
    sparse: NDArray[np.float64]

    @property
    def crossing(self) -> float:
        """The sparsity from which on the sparse matrix is faster, interpolated; NaN where it never is."""
        ratio = self.sparse / self.dense
        slower = np.flatnonzero(ratio > 1)
        if len(slower) == 0:
            return float(self.sparsities[0])
        if slower[-1] == len(ratio) - 1:
            return float("nan")
        pair = slice(slower[-1], slower[-1] + 2)
        return float(np.interp(-1, -ratio[pair], self.sparsities[pair]))


def sparse_times(
    inputs: int, units: int, batch_size: int, sparsities: Sequence[float], *, seed: int = 0, repeats: int = 15
) -> SparseTimes:
    """Time a dense layer's product, (units, inputs) × (inputs, batch_size), by NumPy and by SciPy's CSR format.

    A ``sparsity`` is the share of weights that are zero, at random places. Both use one thread: SciPy has no more, and
    NumPy is held to it. Raises ValueError where sparsities do not ascend from 0 or more to below 1.
    """
    shares = np.asarray(sparsities, "float64")
    if not len(shares) or not (np.diff(shares, prepend=-1e-9, append=1) > 0).all():
        raise ValueError(f"sparse_times(sparsities={sparsities}): they must ascend, from 0 or more to below 1.")
    generator = np.random.default_rng(seed)
    weights = generator.standard_normal((units, inputs), "float32")
    batch = generator.standard_normal((inputs, batch_size), "float32")
    order = generator.permutation(weights.size)
    sparse = []
    with threadpool_limits(1):
        dense = median_seconds(lambda: weights @ batch, repeats=repeats)
        for share in shares:
            weights.flat[order[: round(share * weights.size)]] = 0
            sparse.append(median_seconds(partial(operator.matmul, csr_array(weights), batch), repeats=repeats))
    return SparseTimes(shares, dense, np.array(sparse))
