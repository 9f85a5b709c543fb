"""The NTU skeleton graph in three subsets: self, inward, outward (ST-GCN, Yan et al. 2018, section 3.3)."""

from __future__ import annotations

import numpy as np

from utils.skeleton import BONES, NUM_JOINTS


def adjacency() -> np.ndarray:
    """Normalized adjacency (3, V, V) float64: `A[i, v, w]` is the weight of joint v in joint w, in subset i.

    Subset 0 connects each joint to itself, subset 1 a parent to its children, subset 2 a child to its parent.
    Each column is divided by its sum. A joint without neighbours has a column of zeros.
    """
    subsets = np.zeros((3, NUM_JOINTS, NUM_JOINTS))
    subsets[0] = np.eye(NUM_JOINTS)
    for child, parent in BONES:
        subsets[1, parent, child] = 1
        subsets[2, child, parent] = 1
    column_sums = subsets.sum(axis=1, keepdims=True)
    return np.divide(subsets, column_sums, out=np.zeros_like(subsets), where=column_sums > 0)
