import numpy as np
import pytest

from flare_io.files import write_label_map
from flare_io.geometry import Geometry
from flare_io.labels import LabelClass, LabelTable, label_table
from flare_io.sidecars import itksnap_labels, slicer_colors, write_sidecars
from flare_io.volume import Volume

TABLE = LabelTable(
    "two\nlines",
    (
        LabelClass(1, "liver", color=(10, 20, 30)),
        LabelClass(9, 'left "adrenal" gland', color=(1, 2, 3)),
    ),
)


def test_slicer_lines_have_six_columns():
    lines = slicer_colors(TABLE).splitlines()
    assert lines == [
        "# 3D Slicer color table: two lines",
        "0 background 0 0 0 0",
        "1 liver 10 20 30 255",
        '9 left_"adrenal"_gland 1 2 3 255',
    ]


def test_itksnap_lines_have_seven_numbers_and_a_quoted_name():
    lines = itksnap_labels(TABLE).splitlines()
    assert lines[0].startswith("#") and "two lines" in lines[0]
    rows = [line.split('"') for line in lines[1:]]
    assert [[int(word) for word in numbers.split()] for numbers, _, _ in rows] == [
        [0, 0, 0, 0, 0, 0, 0],
        [1, 10, 20, 30, 1, 1, 1],
        [9, 1, 2, 3, 1, 1, 1],
    ]
    assert [name for _, name, _ in rows] == ["Clear Label", "liver", "left 'adrenal' gland"]


@pytest.mark.parametrize("name", ["case.nii.gz", "case.nii", "case.NRRD", "case.mha", "case"])
def test_sidecars_lie_beside_the_file(tmp_path, name):
    colors, labels = write_sidecars(TABLE, tmp_path / name)
    assert (colors.name, labels.name) == ("case.ctbl", "case.itksnap.txt")


def test_a_label_map_with_sidecars(tmp_path):
    table = label_table("flare23")
    volume = Volume(np.ones((8, 8, 8), np.uint8), Geometry((1.0, 1.0, 1.0)))
    write_label_map(volume, tmp_path / "case.nii.gz", table=table, sidecars=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "case.ctbl",
        "case.itksnap.txt",
        "case.nii.gz",
    ]
    assert len((tmp_path / "case.ctbl").read_text().splitlines()) == 2 + len(table)
