from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flare_train.sampling import draw_places, forced_samples, place_patch


@dataclass(frozen=True)
class FakeCase:
    id: str
    shape: tuple[int, int, int]
    annotated: frozenset[int]
    voxels: dict[int, np.ndarray]
    stated: np.ndarray | None = None

    @property
    def present(self):
        return frozenset(self.voxels)

    def locations(self, label):
        return self.voxels[label]


def case(annotated=(1, 2), voxels=None, shape=(10, 12, 14)):
    voxels = {1: [(0, 0, 0)], 2: [(9, 11, 13)], 3: [(5, 5, 5)]} if voxels is None else voxels
    arrays = {label: np.array(places) for label, places in voxels.items()}
    return FakeCase("a", shape, frozenset(annotated), arrays)


def draw(cases, *, batch=2, patch=(4, 4, 4), share=0.33, seed=0, iteration=0):
    return draw_places(
        cases, batch=batch, patch=patch, foreground_share=share, seed=seed, iteration=iteration
    )


@pytest.mark.parametrize(
    ("batch", "share", "forced"),
    # nnU-Net: sample j is forced unless j < round(batch * (1 - share))
    [(1, 0.33, 0), (2, 0.33, 1), (3, 0.33, 1), (4, 0.33, 1), (8, 0.33, 3), (5, 0, 0), (5, 1, 5)],
)
def test_forced_share(batch, share, forced):
    assert forced_samples(batch, share) == forced
    places = draw([case()], batch=batch, share=share)
    assert [place.forced is not None for place in places] == [False] * (batch - forced) + [
        True
    ] * forced


def test_never_asks_for_a_class_that_the_case_does_not_annotate():
    places = [draw([case()], share=1, iteration=i)[0] for i in range(200)]
    counts = Counter(place.forced for place in places)
    assert set(counts) == {1, 2}
    # Even classes: 100 of 200 each, deviation 7.
    assert abs(counts[1] - 100) < 30


def test_forced_patches_hold_their_voxel():
    for iteration in range(50):
        (place,) = draw([case()], batch=1, share=1, iteration=iteration)
        voxel = {1: (0, 0, 0), 2: (9, 11, 13)}[place.forced]
        assert all(s <= v < s + 4 for s, v in zip(place.start, voxel, strict=True))


@pytest.mark.parametrize("sparse", [case(voxels={}), case(annotated=())], ids=["empty", "no K"])
def test_case_without_foreground_gives_an_unforced_patch(sparse):
    (place,) = draw([sparse], batch=1, share=1)
    assert place.forced is None


def test_uniform_starts_reach_every_place():
    starts = {draw([case()], share=0, iteration=i)[0].start[0] for i in range(200)}
    assert starts == set(range(7))


def test_all_cases_are_drawn():
    cases = [case() for _ in range(5)]
    counts = Counter(place.case for i in range(200) for place in draw(cases, iteration=i))
    assert set(counts) == set(range(5))
    assert min(counts.values()) > 40


def test_places_depend_on_seed_and_iteration_alone():
    assert draw([case()], iteration=3) == draw([case()], iteration=3)
    assert draw([case()], iteration=3) != draw([case()], iteration=4)
    assert draw([case()], seed=1) != draw([case()], seed=2)


def test_no_cases():
    with pytest.raises(ValueError, match="at least one case"):
        draw([])


sizes = st.tuples(*[st.integers(1, 9)] * 3)


@settings(max_examples=60)
@given(sizes, sizes, st.integers(0, 999), st.booleans())
def test_patch_covers_or_lies_inside(shape, patch, seed, centered):
    rng = np.random.default_rng(seed)
    center = tuple(int(rng.integers(size)) for size in shape) if centered else None
    start = place_patch(shape, patch, rng=rng, center=center)
    for first, length, size in zip(start, patch, shape, strict=True):
        if length >= size:
            assert first <= 0
            assert first + length >= size
        else:
            assert 0 <= first <= size - length
    if center is not None:
        assert all(f <= c < f + n for f, c, n in zip(start, center, patch, strict=True))


def test_places_avoid_what_nobody_states_anything_about():
    sparse = FakeCase(
        "a", (10, 12, 14), frozenset({1}), {1: np.array([(0, 0, 0)])}, np.array([(9, 0, 0)])
    )
    for iteration in range(20):
        anywhere, forced = draw([sparse], iteration=iteration)
        assert (anywhere.forced, anywhere.start) == (None, (6, 0, 0))
        assert (forced.forced, forced.start) == (1, (0, 0, 0))


def test_case_that_nobody_states_anything_about_is_drawn_evenly():
    empty = FakeCase("a", (10, 12, 14), frozenset(), {}, np.zeros((0, 3), int))
    starts = {draw([empty], iteration=i)[0].start[0] for i in range(200)}
    assert starts == set(range(7))
