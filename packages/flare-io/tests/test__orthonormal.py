from pathlib import Path

import numpy as np
import pytest

from flare_io._orthonormal import straighten
from flare_io.errors import GeometryError


@pytest.mark.parametrize("column", [(0, 0, 0), (np.nan, 0, 1), (0, np.inf, 0)])
def test_a_singular_matrix_names_the_file(column):
    matrix = np.eye(3)
    matrix[:, 1] = column
    with pytest.raises(GeometryError, match=r"scan.mha: every axis must step through space"):
        straighten(matrix, (4, 4, 4), path=Path("scan.mha"))


def test_a_rotation_comes_back_with_its_spacing():
    turn = np.array([[1, 0, 0], [0, 0.6, -0.8], [0, 0.8, 0.6]])
    direction, spacing, note = straighten(turn * (2.0, 0.5, 0.7), (4, 4, 4), path=Path("a"))
    assert np.allclose(direction, turn)
    assert np.allclose(spacing, (2.0, 0.5, 0.7))
    assert note == ""
