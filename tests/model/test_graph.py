import numpy as np

from model.graph import adjacency
from utils.skeleton import BONES, NUM_JOINTS


def test_bones_connect_every_joint_to_the_chest():
    parent = dict(BONES)
    for joint in range(NUM_JOINTS):
        seen = [joint]
        while seen[-1] != 20:
            seen.append(parent[seen[-1]])
            assert len(seen) < NUM_JOINTS


def test_columns_sum_to_one_where_a_joint_has_neighbours():
    sums = adjacency().sum(axis=1)
    np.testing.assert_allclose(sums[0], 1)
    assert set(np.unique(sums[1])) == {0.0, 1.0}
    assert sums[1, 20] == 0, "the chest has no parent to take features from"
    assert sums[2, 3] == 0, "the head has no child to take features from"


def test_adjacency_is_the_released_one(golden):
    np.testing.assert_allclose(adjacency(), np.load(golden / "graph.npz")["A"], atol=1e-12)
