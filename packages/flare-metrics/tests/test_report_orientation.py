"""Orientation: letters from affines, and views that look at a patient as radiologists do."""

from itertools import permutations, product

import numpy as np
import pytest

from flare_metrics.report.orientation import array_axes, display_order, to_display

LETTERS = [
    "".join(letters) for order in permutations(("SI", "PA", "LR")) for letters in product(*order)
]
WORLD = {"R": (1, 0, 0), "A": (0, 1, 0), "S": (0, 0, 1), "L": (-1, 0, 0), "P": (0, -1, 0),
         "I": (0, 0, -1)}  # fmt: skip


def affine_of(axes, spacing=(2.0, 1.0, 0.5)):
    affine = np.eye(4)
    affine[:3, :3] = np.array([WORLD[letter] for letter in axes]).T * spacing
    return affine


@pytest.mark.parametrize("axes", LETTERS)
def test_all_48_orientations_are_recognized_and_shown_alike(axes):
    affine = affine_of(axes)
    assert array_axes(affine) == axes
    # Each voxel holds its own place: superior, posterior, left.
    index = np.stack([*np.indices((2, 3, 4)), np.ones((2, 3, 4))])
    right, anterior, superior = np.tensordot(affine, index, 1)[:3]
    shown = [to_display(array, axes) for array in (superior, -anterior, -right)]
    for axis, place in enumerate(shown):
        steps = np.diff(place, axis=axis)
        assert (steps > 0).all()


def test_an_oblique_affine_has_the_nearest_axes():
    angle = np.deg2rad(20)
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)],
                     [0, np.sin(angle), np.cos(angle)]])  # fmt: skip
    affine = affine_of("SPL")
    affine[:3, :3] = turn @ affine[:3, :3]
    assert array_axes(affine) == "SPL"


@pytest.mark.parametrize("wrong", [np.zeros((4, 4)), np.full((4, 4), np.nan)])
def test_an_affine_that_tells_nothing_gives_no_letters(wrong):
    assert array_axes(wrong) is None


def test_without_letters_nothing_moves():
    array = np.arange(24).reshape(2, 3, 4)
    assert to_display(array, None) is array
    assert display_order(None) == (0, 1, 2)
    assert display_order("LSP") == (1, 2, 0)


@pytest.mark.parametrize("axes", ["SP", "SPP", "", "XYZ", "SIL"])
def test_wrong_letters_are_refused(axes):
    with pytest.raises(ValueError, match="three letters"):
        display_order(axes)
