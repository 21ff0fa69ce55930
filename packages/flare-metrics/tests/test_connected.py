"""Connected components: SciPy as oracle, and paths as long as can be."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from flare_metrics._connected import connected_numbers


@given(seed=st.integers(0, 10**6), size=st.integers(1, 60), edges=st.integers(0, 80))
@settings(max_examples=60, deadline=None)
def test_components_equal_scipys(seed, size, edges):
    first, second = np.random.default_rng(seed).integers(0, size, (2, edges))
    graph = coo_matrix((np.ones(edges), (first, second)), shape=(size, size))
    _, expected = connected_components(graph, directed=False)
    found = connected_numbers(first, second, size)
    # The same partition, numbered by first node.
    pairs = set(zip(expected.tolist(), found.tolist(), strict=True))
    assert len(pairs) == len(set(found.tolist())) == expected.max() + 1
    firsts = [found.tolist().index(number) for number in range(found.max() + 1)]
    assert firsts == sorted(firsts)


def test_a_long_path_in_any_order_is_one_component():
    order = np.random.default_rng(0).permutation(5000)
    assert not connected_numbers(order[:-1], order[1:], 5000).any()


def test_without_edges_every_node_is_alone():
    none = np.zeros(0, np.int64)
    assert connected_numbers(none, none, 3).tolist() == [0, 1, 2]
    assert connected_numbers(none, none, 0).size == 0
