import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from flare_infer.device.rows import CaseGrid, plan_rows
from flare_infer.windows import WindowPlan
from flare_io.crop import Box
from flare_io.resample import axis_operator


def grid_of(box, patch, operator, *, step=0.5):
    plane = [axis_operator(n, n, 1) for n in box.shape[1:]]
    return CaseGrid(WindowPlan(patch=patch, step=step), box, (operator, *plane))


def test_planes_are_decided_with_the_row_that_makes_their_last_corner_final():
    # Windows of 4 planes start at 0, 2 and 4 of eight: behind them 2, 4 and 8 planes are final.
    grid = grid_of(Box((0, 0, 0), (8, 4, 4)), (4, 4, 4), axis_operator(8, 16, 1))
    rows = plan_rows(grid)
    assert [row.end for row in rows.rows] == [4, 6, 8]
    # Plane k of 16 lies at (k + 0.5) / 2 - 0.5 of the eight: 2 to 4 need planes up to 2.
    assert [(row.first, row.last) for row in rows.rows] == [(0, 3), (3, 7), (7, 16)]
    assert (rows.before, rows.behind, rows.most) == (0, 0, 9)
    assert [row.starts for row in rows.rows] == [((z, 0, 0),) for z in (0, 2, 4)]


def test_what_lies_in_front_of_the_box_and_behind_it_needs_no_row():
    grid = grid_of(Box((3, 0, 0), (5, 4, 4)), (4, 4, 4), axis_operator(10, 10, 1))
    rows = plan_rows(grid)
    assert (rows.before, rows.behind) == (3, 5)
    assert [(row.end, row.first, row.last) for row in rows.rows] == [(4, 3, 5)]
    assert (grid.padded, grid.ahead) == ((4, 4, 4), (1, 0, 0))
    assert grid.inside == (slice(1, 3), slice(0, 4), slice(0, 4))


def test_windows_are_left_out_and_their_row_stays():
    grid = grid_of(Box((0, 0, 0), (6, 6, 4)), (4, 4, 4), axis_operator(6, 6, 1))
    rows = plan_rows(grid, lambda start: start[0] == 2 and start[1] > 0)
    assert [row.starts for row in rows.rows] == [(), ((2, 2, 0),)]


@settings(max_examples=80, deadline=None)
@given(
    n_in=st.integers(1, 30),
    n_out=st.integers(1, 50),
    depth=st.integers(1, 9),
    step=st.sampled_from([0.2, 0.5, 1.0]),
    order=st.sampled_from([0, 1]),
    data=st.data(),
)
def test_every_plane_is_decided_once_while_all_that_it_reads_is_held(
    n_in, n_out, depth, step, order, data
):
    first = data.draw(st.integers(0, n_in - 1))
    last = data.draw(st.integers(first + 1, n_in))
    operator = axis_operator(n_in, n_out, order)
    grid = grid_of(Box((first, 0, 0), (last, 4, 4)), (depth, 4, 4), operator, step=step)
    rows = plan_rows(grid)
    spans = [(row.first, row.last) for row in rows.rows]
    planes = [k for a, b in spans for k in range(a, b)]
    assert planes == list(range(rows.before, n_out - rows.behind))
    starts = np.unique(grid.windows.axis_starts(grid.padded)[0])
    for number, (a, b) in enumerate(spans):
        final = starts[number + 1] if number + 1 < len(starts) else grid.padded[0]
        offset = grid.ahead[0] - first
        for k in range(a, b):
            corners = np.arange(operator.start[k], operator.start[k] + operator.width)
            read = [z + offset for z in corners if first <= z < last]
            # The ring is one plane deeper than a window.
            assert all(starts[number] - 1 <= z < final for z in read)
    for k in (*range(rows.before), *range(n_out - rows.behind, n_out)):
        corners = np.arange(operator.start[k], operator.start[k] + operator.width)
        assert not any(first <= z < last for z in corners)
