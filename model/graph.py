"""The NTU skeleton graph. A joint has three subsets of neighbours: itself, its parent and its children.

In ST-GCN (Yan et al. 2018, section 3.3): root, centripetal and centrifugal subset.
"""

import numpy as np

from utils.skeleton import BONES, NUM_JOINTS


def adjacency() -> np.ndarray:
    """Normalized adjacency A (3, V, V) float64. `A[i, v, w]` is the weight of joint v's features in joint w, subset i.

    In subset 0, each joint receives its own features. In subset 1, it receives those of its parent. In subset 2, it
    receives those of its children. Each column is divided by its sum. A joint without neighbours in a subset has a
    column of zeros.
    """
    subsets = np.zeros((3, NUM_JOINTS, NUM_JOINTS))
    subsets[0] = np.eye(NUM_JOINTS)
    for child, parent in BONES:
        subsets[1, parent, child] = 1
        subsets[2, child, parent] = 1
    return subsets / np.maximum(subsets.sum(axis=1, keepdims=True), 1)
