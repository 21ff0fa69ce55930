"""Names and colors of labels beside a file, as 3D Slicer and ITK-SNAP read them."""

from __future__ import annotations

import os
from pathlib import Path

from flare_io.atomic import write_text
from flare_io.labels import LabelTable

__all__ = ["itksnap_labels", "slicer_colors", "write_sidecars"]

_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha")


def write_sidecars(table: LabelTable, path: os.PathLike[str] | str) -> tuple[Path, Path]:
    """Write ``CASE.ctbl`` for 3D Slicer and ``CASE.itksnap.txt`` for ITK-SNAP.

    Parameters
    ----------
    table : LabelTable
    path : path
        Of the label map, whose suffix is replaced.

    Returns
    -------
    (Path, Path)
        The two files.
    """
    path = Path(path)
    ending = next((end for end in _SUFFIXES if path.name.lower().endswith(end)), "")
    stem = path.name[: len(path.name) - len(ending)]
    colors = path.with_name(f"{stem}.ctbl")
    labels = path.with_name(f"{stem}.itksnap.txt")
    write_text(colors, slicer_colors(table))
    write_text(labels, itksnap_labels(table))
    return colors, labels


def slicer_colors(table: LabelTable) -> str:
    """Return a 3D Slicer color table: one line of id, name, red, green, blue, opacity per label.

    Examples
    --------
    >>> print(slicer_colors(LabelTable.from_names("two", {"liver": 1, "cyst wall": 2})))
    # 3D Slicer color table: two
    0 background 0 0 0 0
    1 liver ...
    2 cyst_wall ...
    """
    lines = [f"# 3D Slicer color table: {_one_line(table.name)}", "0 background 0 0 0 0"]
    for each in table.classes:
        # Columns are parted by spaces.
        name = "_".join(each.name.split())
        lines.append(f"{each.id} {name} {' '.join(map(str, each.color))} 255")
    return "\n".join(lines) + "\n"


def itksnap_labels(table: LabelTable) -> str:
    """Return an ITK-SNAP label description: id, color, opacity, two visibilities, quoted name.

    Examples
    --------
    >>> print(itksnap_labels(LabelTable.from_names("one", {"liver": 1})).splitlines()[1])
        0     0    0    0        0  0  0    "Clear Label"
    """
    lines = ["# ITK-SNAP label description: " + _one_line(table.name)]
    rows = [(0, (0, 0, 0), 0, "Clear Label")]
    rows += [(each.id, each.color, 1, each.name) for each in table.classes]
    for label, (red, green, blue), shown, name in rows:
        quoted = _one_line(name).replace('"', "'")
        lines.append(
            f"{label:5d} {red:5d} {green:4d} {blue:4d} {shown:8d} {shown:2d} {shown:2d}    "
            f'"{quoted}"'
        )
    return "\n".join(lines) + "\n"


def _one_line(text: str) -> str:
    return " ".join(text.split())
