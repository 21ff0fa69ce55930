"""Outlines: closed, right length and area, bodies apart; dashes cover what they should."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageDraw
from scipy import ndimage

from flare_metrics.report.contours import dashes, draw_lines, outlines


def area(line):
    """Signed area by the shoelace formula."""
    rows, columns = line.T
    return 0.5 * float(np.sum(columns[:-1] * rows[1:] - columns[1:] * rows[:-1]))


def test_a_rectangle_loses_its_corners_only():
    mask = np.zeros((6, 8), bool)
    mask[1:4, 2:7] = True
    (line,) = outlines(mask)
    # 3 x 5 pixels less four triangles of half a pixel by half a pixel.
    assert area(line) == pytest.approx(15 - 4 * 0.125)
    assert line.min(axis=0).tolist() == [1, 2] and line.max(axis=0).tolist() == [4, 7]


def test_nothing_and_everything():
    assert outlines(np.zeros((3, 4), bool)) == []
    (line,) = outlines(np.ones((3, 4), bool))
    assert line.min(axis=0).tolist() == [0, 0] and line.max(axis=0).tolist() == [3, 4]


def test_a_hole_has_its_own_line_that_runs_the_other_way():
    mask = np.ones((5, 5), bool)
    mask[2, 2] = False
    outer, inner = sorted(outlines(mask), key=len, reverse=True)
    assert area(outer) > 0 > area(inner)


def test_pixels_that_share_a_corner_are_two_bodies():
    assert len(outlines(np.eye(2, dtype=bool))) == 2
    assert len(outlines(~np.eye(2, dtype=bool))) == 2


@settings(max_examples=60, deadline=None)
@given(arrays(bool, st.tuples(st.integers(1, 7), st.integers(1, 7))))
def test_lines_close_count_bodies_and_holes_and_visit_each_side_once(mask):
    lines = outlines(mask)
    assert all((line[0] == line[-1]).all() for line in lines)
    padded = np.pad(mask, 1)
    sides = int((padded[1:] != padded[:-1]).sum() + (padded[:, 1:] != padded[:, :-1]).sum())
    assert sum(len(line) - 1 for line in lines) == sides
    bodies = ndimage.label(mask)[1]
    background = ndimage.label(~padded, np.ones((3, 3)))[1]
    assert sum(area(line) > 0 for line in lines) == bodies
    assert sum(area(line) < 0 for line in lines) == background - 1


@settings(max_examples=30, deadline=None)
@given(st.floats(0.5, 9), st.floats(0.5, 9))
def test_dashes_are_as_long_as_asked_and_stay_on_the_line(dash, gap):
    line = np.array([[0.0, 0], [0, 10], [7, 10], [7, 0]])
    pieces = dashes(line, dash=dash, gap=gap)
    lengths = [float(np.linalg.norm(np.diff(piece, axis=0), axis=1).sum()) for piece in pieces]
    assert lengths[:-1] == pytest.approx([dash] * (len(pieces) - 1))
    assert lengths[-1] <= dash + 1e-9
    assert len(pieces) == int(np.ceil(27 / (dash + gap) - 1e-12))
    on_line = [(r in (0, 7) or c == 10) for piece in pieces for r, c in piece]
    assert all(on_line)


def test_lines_are_drawn_where_they_are():
    picture = Image.new("RGBA", (10, 10))
    draw_lines(
        ImageDraw.Draw(picture), [np.array([[2.0, 1], [2, 8]])], color=(9, 8, 7, 255), width=1
    )
    drawn = np.asarray(picture)[..., 3] > 0
    assert drawn[2, 1:9].all() and drawn.sum() == 8
