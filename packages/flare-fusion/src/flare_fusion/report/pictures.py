"""Pictures of where the sources of a case differ, as text within the page."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from flare_fusion.conflict import conflict_mask
from flare_fusion.sources import read_sources
from flare_io.files import read_label_map, read_volume
from flare_io.intensity import WINDOWS_HU
from flare_io.label_class import color_by_id
from flare_io.labels import label_table
from flare_io.resample_labels import resample_labels
from flare_io.views import VIEWS, View, paint_plane
from flare_io.volume import Volume, to_canonical

if TYPE_CHECKING:
    from flare_fusion.results import CaseFusion

__all__ = ["CONFLICT_COLOR", "CasePictures", "Panel", "case_pictures"]

CONFLICT_COLOR = (255, 0, 214)
"""Of no class, so that it cannot be taken for one."""

_MOST_PIXELS = 360
_DENSITY = 1.4
_COLORS = 128
_FILL = 0.3
_HATCH = 7
_TABLE = label_table("flare23")


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One plane as the address of a PNG, with its width on the page."""

    caption: str
    uri: str
    width: int


@dataclass(frozen=True, kw_only=True)
class CasePictures:
    """The pictures of one case.

    Parameters
    ----------
    views : tuple of Panel
        Fused labels and conflict in the axial, coronal and sagittal plane with most conflict.
    sources : tuple of Panel
        Each source in that axial plane.
    fault : str
        Why there are none.
    """

    views: tuple[Panel, ...] = ()
    sources: tuple[Panel, ...] = ()
    fault: str = ""


def case_pictures(case: CaseFusion, *, folder: Path) -> CasePictures:
    """Draw where the sources of a case differ.

    Parameters
    ----------
    case : CaseFusion
    folder : Path
        Where its fused label map lies.

    Returns
    -------
    CasePictures
        Without pictures and with the reason, if a file cannot be read any more.
    """
    try:
        return _drawn(case, folder)
    except (OSError, ValueError) as error:
        return CasePictures(fault=f"No picture: {error}")


def _drawn(case: CaseFusion, folder: Path) -> CasePictures:
    files = {name: None if path == "none" else Path(path) for name, path in case.sources.items()}
    sources = read_sources(Path(case.image), files, resample=True)
    shown = {name: array for name, array in sources.arrays.items() if files[name] is not None}
    conflict = conflict_mask(shown, looked_for=(case.agreement or {}).get("looked_for", {}))
    geometry = sources.grid.geometry

    def turned(array: NDArray[Any]) -> NDArray[Any]:
        return to_canonical(Volume(array, geometry))[0].array

    image, _ = to_canonical(read_volume(case.image))
    fused = to_canonical(read_label_map(folder / case.label_map))[0].array
    places = turned(conflict.view(np.uint8))
    planes = [int(places.sum(axis=tuple({0, 1, 2} - {axis})).argmax()) for axis in range(3)]
    views = tuple(
        _panel(image, view, planes[view.across], fused, f"fused, {view.name}", conflict=places)
        for view in VIEWS
    )
    each = tuple(
        _panel(image, VIEWS[0], planes[0], turned(array), f"{name}, axial")
        for name, array in shown.items()
    )
    return CasePictures(views=views, sources=each)


def _panel(
    image: Volume,
    view: View,
    index: int,
    labels: NDArray[Any],
    caption: str,
    *,
    conflict: NDArray[Any] | None = None,
) -> Panel:
    """Return one plane with colored labels, hatched where ``conflict`` is not 0."""
    sides = [
        image.shape[axis] * image.geometry.spacing_mm[axis] for axis in (view.rows, view.columns)
    ]
    pixels = paint_plane(
        image,
        view,
        index,
        scale=_MOST_PIXELS * _DENSITY / max(sides),
        window_hu=WINDOWS_HU["soft tissue"],
        table=_TABLE,
        layers=(labels, None),
    )
    size = pixels.shape[:2]
    colors = {each.id: each.color for each in _TABLE.classes}
    drawn = resample_labels(view.plane(labels, index)[None], (1, *size), rule="linear")[0]
    for label in np.unique(drawn[drawn != 0]).tolist():
        inside = drawn == label
        color = np.array(colors.get(label) or color_by_id(label))
        pixels[inside] = np.rint(pixels[inside] * (1 - _FILL) + color * _FILL).astype(np.uint8)
    if conflict is not None:
        where = resample_labels(view.plane(conflict, index)[None], (1, *size), rule="linear")[0]
        rows, columns = np.ogrid[: size[0], : size[1]]
        pixels[(where > 0) & ((rows + columns) % _HATCH < 2)] = CONFLICT_COLOR
    return Panel(
        caption=f"{caption}, plane {index + 1} of {image.shape[view.across]}",
        uri=_data_uri(pixels),
        width=round(size[1] / _DENSITY),
    )


def _data_uri(pixels: NDArray[np.uint8]) -> str:
    """Return pixels as the address of a PNG of few colors."""
    # The default method gives thin lines the gray of the scan around them.
    picture = Image.fromarray(pixels).quantize(
        _COLORS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE
    )
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")
