"""Surfaces of balls, boxes and slabs against their closed forms, and what must change nothing.

Two equal balls, moved against each other by d, have distances uniform on [0, d]: with u the cosine
of the angle to the direction of the move, a point of one sphere lies
|sqrt(R^2 + d^2 - 2 R d u) - R| from the other, and u is uniform on a sphere. So NSD at a
tolerance t is t / d, the p-th percentile p d / 100, the average d / 2.
"""

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from flare_metrics import average_surface_distance, hausdorff, score_case, surface_dice
from flare_metrics.protocols import Label, Protocol

ISOTROPIC, CT = (1.0, 1.0, 1.0), (2.5, 0.8, 0.8)


def ball(shape, spacing, center, radius):
    """Return the voxels whose centers lie in a ball, in mm from the array's corner."""
    squares = [
        ((np.arange(n) + 0.5) * step - at) ** 2
        for n, step, at in zip(shape, spacing, center, strict=True)
    ]
    return squares[0][:, None, None] + squares[1][:, None] + squares[2] <= radius**2


def ball_pair(spacing, radii, move):
    """Return two balls on a grid that is not aligned with them."""
    size = 2 * (max(radii) + np.linalg.norm(move))
    shape = [math.ceil(size / step) + 4 for step in spacing]
    center = np.array([n / 2 + 0.123 for n in shape]) * spacing
    moves = -np.array(move) / 2, np.array(move) / 2
    return [ball(shape, spacing, center + m, r) for m, r in zip(moves, radii, strict=True)]


@pytest.mark.parametrize("voxel", [ISOTROPIC, CT], ids=["isotropic", "ct"])
@pytest.mark.parametrize("direction", [(0, 0, 1), (1, 0, 0), (1, 2, 3)], ids=["x", "z", "oblique"])
def test_moved_balls_approach_the_closed_form(voxel, direction):
    radius, distance = 12.0, 4.0
    move = distance * np.array(direction) / np.linalg.norm(direction)
    for scale in (1.0, 0.5):
        spacing = np.array(voxel) * scale
        pair = ball_pair(spacing, (radius, radius), move)
        # Corners lie up to half a voxel's diagonal off the sphere: errors shrink with the voxel.
        bound_mm = 0.75 * spacing.max()
        for percentile in (50, 95, 100):
            found = hausdorff(*pair, spacing_mm=spacing, percentile=percentile)
            assert found == pytest.approx(distance * percentile / 100, abs=bound_mm)
        found = average_surface_distance(*pair, spacing_mm=spacing)
        assert found == pytest.approx(distance / 2, abs=bound_mm)
        for share in (0.25, 0.5, 0.75):
            found = surface_dice(*pair, spacing_mm=spacing, tolerance_mm=share * distance)
            assert found == pytest.approx(share, abs=bound_mm / distance)


@pytest.mark.parametrize("voxel", [ISOTROPIC, CT], ids=["isotropic", "ct"])
def test_balls_around_one_center_are_the_difference_of_their_radii_apart(voxel):
    for scale in (1.0, 0.5):
        spacing = np.array(voxel) * scale
        pair = ball_pair(spacing, (11.0, 14.0), (0, 0, 0))
        bound_mm = 0.75 * spacing.max()
        for percentile in (50, 95, 100):
            found = hausdorff(*pair, spacing_mm=spacing, percentile=percentile)
            assert found == pytest.approx(3, abs=bound_mm)
        for direction in ("prediction", "reference", "symmetric"):
            found = average_surface_distance(*pair, spacing_mm=spacing, direction=direction)
            assert found == pytest.approx(3, abs=bound_mm)
        short_mm = max(0.0, 3 - 2 * bound_mm)
        assert surface_dice(*pair, spacing_mm=spacing, tolerance_mm=short_mm) < 0.02
        assert surface_dice(*pair, spacing_mm=spacing, tolerance_mm=3 + 2 * bound_mm) > 0.98


def moved_boxes(scale):
    """Return boxes of 8 x 12 x 20 mm, 3 mm apart along the last axis, and the spacing."""
    spacing = np.array((1.0, 1.0, 0.5)) * scale
    masks = np.zeros((2, *(int(n) for n in np.array((12, 16, 30)) / spacing)), bool)
    for mask, start in zip(masks, (2, 5), strict=True):
        low, high = (2, 2, start) / spacing, (10, 14, start + 20) / spacing
        mask[tuple(slice(round(a), round(b)) for a, b in zip(low, high, strict=True))] = True
    return masks, spacing


def test_moved_boxes_approach_the_closed_form():
    # Depth a moved by d, end faces b x c. Sides: a part of length d sticks out and is up to d off.
    # One end is d off; the other lies inside, nearest to the end or to a side.
    a, b, c, d = 20.0, 8.0, 12.0, 3.0
    area = 2 * a * (b + c) + 2 * b * c
    outside = (b + c) * d**2 + b * c * d
    inside = b * c * d - (b + c) * d**2 + 4 * d**3 / 3
    errors = []
    for scale in (1.0, 0.5, 0.25):
        pair, spacing = moved_boxes(scale)
        found = [average_surface_distance(*pair, spacing_mm=spacing) / d]
        expected = [(outside + inside) / area / d]
        for t in (0.8, 1.55, 2.3):
            found.append(surface_dice(*pair, spacing_mm=spacing, tolerance_mm=t))
            near = 2 * (b + c) * (a - d + t) + b * c - (b - 2 * t) * (c - 2 * t)
            expected.append(near / area)
        assert hausdorff(*pair, spacing_mm=spacing, percentile=100) == pytest.approx(d)
        errors.append(np.abs(np.subtract(found, expected)).max())
    assert errors[2] < errors[1] < errors[0]
    assert errors[2] < 0.03


@pytest.mark.parametrize("spacing", [ISOTROPIC, CT, (0.4, 5.0, 1 / 3)])
def test_slabs_cut_by_the_array_are_exactly_as_far_as_their_faces_without_the_edge(spacing):
    a = np.zeros((12, 5, 6), bool)
    a[2:6] = True
    b = np.roll(a, 3, 0)
    rules = {"spacing_mm": spacing, "edge": "ignore"}
    # Faces at 2 and 6 against 5 and 9: 3 and 1 slices to the nearest.
    assert hausdorff(a, b, percentile=100, **rules) == pytest.approx(3 * spacing[0])
    assert average_surface_distance(a, b, **rules) == pytest.approx(2 * spacing[0])
    assert surface_dice(a, b, tolerance_mm=1.5 * spacing[0], **rules) == pytest.approx(0.5)
    # With the edge, the four side walls count too: they are near each other.
    walls = surface_dice(a, b, spacing_mm=spacing, tolerance_mm=1.5 * spacing[0])
    assert walls > 0.5


def test_wide_slabs_approach_their_faces_with_the_edge():
    # A slab of n x n pixels and 4 slices, moved by one: all faces are one slice off, the walls
    # are 4 / n of the faces and at most one slice off.
    for n in (8, 32, 128):
        a = np.zeros((9, n, n), bool)
        a[2:6] = True
        found = average_surface_distance(a, np.roll(a, 1, 0), spacing_mm=ISOTROPIC)
        assert 1 - 10 / n <= found <= 1


PAIRS = hnp.array_shapes(min_dims=3, max_dims=3, max_side=6).flatmap(
    lambda shape: st.tuples(hnp.arrays(bool, shape), hnp.arrays(bool, shape))
)
# Surface voxels have no edge to ignore.
RULES = st.sampled_from(
    [("area", "surface"), ("area", "ignore"), ("voxel", "surface"), ("voxel-pooled", "surface")]
)
SPACING = np.array((2.5, 0.8, 1.0))


def all_scores(a, b, definition, edge, spacing=SPACING):
    """Return every score of a pair, the one-sided averages last."""
    rules = {"spacing_mm": spacing, "edge": edge}
    average = {"definition": definition, **rules}
    return [
        surface_dice(a, b, tolerance_mm=1.3, **rules),
        # No share of few equal areas: rounding could put a step to either side of it.
        hausdorff(a, b, percentile=93.7, **average),
        hausdorff(a, b, percentile=100, **average),
        average_surface_distance(a, b, **average),
        average_surface_distance(a, b, direction="prediction", **average),
        average_surface_distance(a, b, direction="reference", **average),
    ]


@settings(max_examples=25, deadline=None)
@given(PAIRS, RULES)
def test_exchange_flips_and_axis_order_change_nothing(pair, rules):
    a, b = pair
    definition, edge = rules
    scores = all_scores(a, b, definition, edge)

    def same(found):
        return found == pytest.approx(scores, rel=1e-9, nan_ok=True)

    exchanged = all_scores(b, a, definition, edge)
    assert same([*exchanged[:4], exchanged[5], exchanged[4]])
    assert same(all_scores(a[::-1, :, ::-1], b[::-1, :, ::-1], definition, edge))
    assert same(all_scores(np.asfortranarray(a), np.asfortranarray(b), definition, edge))
    for order in permutations(range(3)):
        moved = a.transpose(order), b.transpose(order)
        assert same(all_scores(*moved, definition, edge, SPACING[list(order)]))


@settings(max_examples=25, deadline=None)
@given(
    PAIRS,
    st.sampled_from(["area", "voxel", "voxel-pooled"]),
    st.tuples(*[st.tuples(st.integers(0, 3), st.integers(0, 3))] * 3),
)
def test_padding_and_cropping_change_nothing(pair, definition, width):
    a, b = pair
    scores = all_scores(a, b, definition, "surface")
    padded = all_scores(np.pad(a, width), np.pad(b, width), definition, "surface")
    assert padded == pytest.approx(scores, rel=1e-9, nan_ok=True)
    if (a | b).any():
        used = np.argwhere(a | b)
        box = tuple(map(slice, used.min(axis=0), used.max(axis=0) + 1))
        cropped = all_scores(a[box], b[box], definition, "surface")
        assert cropped == pytest.approx(scores, rel=1e-9, nan_ok=True)


@settings(max_examples=20, deadline=None)
@given(PAIRS, st.sampled_from(["surface", "ignore"]))
def test_identical_masks_are_no_distance_apart(pair, edge):
    mask = pair[0] | pair[1]
    scores = all_scores(mask, mask, "area", edge)
    # With the edge ignored, a mask that no voxel inside the array borders on has no surface.
    if mask.any() and (edge == "surface" or not math.isnan(scores[0])):
        assert scores == pytest.approx([1, 0, 0, 0, 0, 0])


LABEL_MAPS = hnp.array_shapes(min_dims=3, max_dims=3, max_side=6).flatmap(
    lambda shape: st.tuples(*[hnp.arrays(np.uint8, shape, elements=st.integers(0, 4))] * 2)
)


@settings(max_examples=20, deadline=None)
@given(LABEL_MAPS, st.permutations([1, 2, 3, 4]))
def test_the_order_of_labels_changes_nothing(maps, order):
    def rules(ids):
        labels = [Label(id=k, name=f"label {k}", tolerance_mm=1.3) for k in ids]
        return Protocol(name="four", labels=tuple(labels))

    renamed = np.array([0, *order], np.uint8)
    score = score_case(*maps, spacing_mm=SPACING, protocol=rules((1, 2, 3, 4)), distances=True)
    other = score_case(
        *(renamed[labels] for labels in maps),
        spacing_mm=SPACING,
        protocol=rules(order),
        distances=True,
    )
    for label in (1, 2, 3, 4):
        a, b = score[label], other[int(renamed[label])]
        for name in ("dsc", "nsd", "hd95_mm", "assd_mm", "prediction_ml"):
            assert getattr(a, name) == pytest.approx(getattr(b, name), rel=1e-9, nan_ok=True)
        masks = maps[0] == label, maps[1] == label
        nsd = surface_dice(*masks, spacing_mm=SPACING, tolerance_mm=1.3)
        assert a.nsd == pytest.approx(nsd, rel=1e-9, nan_ok=True)
        if masks[0].any() and masks[1].any():
            assert a.hd95_mm == pytest.approx(hausdorff(*masks, spacing_mm=SPACING), rel=1e-9)
            average = average_surface_distance(*masks, spacing_mm=SPACING)
            assert a.assd_mm == pytest.approx(average, rel=1e-9)
