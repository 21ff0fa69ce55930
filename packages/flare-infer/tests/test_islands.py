import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from flare_infer.components import Components
from flare_infer.islands import remove_small_components


def plain_islands(mask):
    """Voxels of each island as sets, by flooding through faces, edges and corners."""
    left = {tuple(map(int, voxel)) for voxel in np.argwhere(mask)}
    while left:
        seed = left.pop()
        island, edge = {seed}, [seed]
        while edge:
            place = edge.pop()
            near = {v for v in left if max(abs(a - b) for a, b in zip(v, place, strict=True)) <= 1}
            left -= near
            island |= near
            edge.extend(near)
        yield island


def plain_rule(labels, rule, spacing):
    result = labels.copy()
    for label in set(np.unique(labels).tolist()) - {0}:
        islands = list(plain_islands(labels == label))
        largest = max(map(len, islands))
        for island in islands:
            volume = len(island) * math.prod(spacing)
            if len(island) < rule.min_share * largest and volume < rule.min_mm3:
                for place in island:
                    result[place] = 0
    return result


@given(
    st.integers(0, 10**6),
    st.sampled_from([0.0, 0.05, 0.3, 0.5, 1.0]),
    st.sampled_from([0.0, 3.0, 12.0, math.inf]),
)
@settings(max_examples=40, deadline=None)
def test_equals_flooding_written_out(seed, min_share, min_mm3):
    rng = np.random.default_rng(seed)
    labels = np.where(rng.random((4, 6, 7)) < 0.25, rng.integers(1, 4, (4, 6, 7)), 0)
    rule = Components(min_share=min_share, min_mm3=min_mm3)
    found = remove_small_components(labels, rule, spacing_mm=(2.0, 1.0, 1.5))
    assert np.array_equal(found, plain_rule(labels, rule, (2.0, 1.0, 1.5)))


def test_each_measure_alone_keeps_an_island():
    labels = np.zeros((1, 1, 140), np.uint8)
    labels[0, 0, :100] = 7  # the largest: 100 voxels
    labels[0, 0, 110:115] = 7  # 5 % of it
    labels[0, 0, 120:124] = 7  # 4 %
    for min_mm3, kept in ((9.0, 105), (8.0, 109)):
        # A voxel has 2 mm3, so four are 8 mm3.
        rule = Components(min_share=0.05, min_mm3=min_mm3)
        found = remove_small_components(labels, rule, spacing_mm=(2, 1, 1))
        assert np.count_nonzero(found) == kept


def test_corners_touch_and_labels_do_not_join():
    labels = np.zeros((2, 2, 2), np.uint16)
    labels[0, 0, 0] = labels[1, 1, 1] = 300
    labels[0, 0, 1] = 2
    strict = Components(min_share=1.0, min_mm3=math.inf)
    found = remove_small_components(labels, strict, spacing_mm=(1, 1, 1))
    assert np.array_equal(found, labels)
    assert found.dtype == np.uint16


def test_the_input_stays_and_empty_maps_pass():
    labels = np.zeros((1, 1, 9), np.uint8)
    rule = Components()
    assert not remove_small_components(labels, rule, spacing_mm=(1, 1, 1)).any()
    labels[0, 0, [0, 1, 2, 3, 4, 5, 6, 8]] = 1
    before = labels.copy()
    strict = Components(min_share=0.5, min_mm3=math.inf)
    assert remove_small_components(labels, strict, spacing_mm=(1, 1, 1)).sum() == 7
    assert np.array_equal(labels, before)
