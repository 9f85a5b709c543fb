"""The NTU skeleton graph in three subsets: self, inward, outward (ST-GCN, Yan et al. 2018, section 3.3)."""

from __future__ import annotations

import numpy as np

from utils.skeleton import BONES, NUM_JOINTS


def adjacency() -> np.ndarray:
    """Normalised adjacency (3, V, V) float64: `A[i, v, w]` is what joint w takes from joint v in subset i.

    Subset 0 joins each joint with itself, subset 1 a parent's features to its children, subset 2 a child's
    to its parent. Each column is divided by its sum; a joint without a neighbour keeps a column of zeros.
    """
    subsets = np.zeros((3, NUM_JOINTS, NUM_JOINTS))
    subsets[0] = np.eye(NUM_JOINTS)
    for child, parent in BONES:
        subsets[1, parent, child] = 1
        subsets[2, child, parent] = 1
    column_sums = subsets.sum(axis=1, keepdims=True)
    return np.divide(subsets, column_sums, out=np.zeros_like(subsets), where=column_sums > 0)
