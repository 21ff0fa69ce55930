"""From a volume to a network's array, and exactly back: what training and inference share.

The steps and their order are nnU-Net v2's: axes, crop to what is not 0, intensities, resampling.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from flare_io.crop import Box, nonzero_box
from flare_io.geometry import AxisOrder, Geometry, canonical_axis_order
from flare_io.intensity import Intensity
from flare_io.preprocessing import Preprocessing, Spacing
from flare_io.resample import resample_image, separate_axis, target_shape
from flare_io.resample_labels import resample_labels
from flare_io.volume import Volume, require_same_grid

__all__ = [
    "Preparation",
    "Prepared",
    "Preprocessing",
    "coarse_axis",
    "plan_preparation",
    "prepare",
    "restore",
]

Shape = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """What was done to the geometry of one case: all that the way back needs.

    Parameters
    ----------
    source_shape, source_geometry
        The grid that came.
    order : AxisOrder
        From the source's axes to the network's, flips and transpose in one.
    box : Box
        What was cut out, in the network's axes.
    shape, spacing_mm : (3,)
        The network's grid.
    """

    source_shape: Shape
    source_geometry: Geometry
    order: AxisOrder
    box: Box
    shape: Shape
    spacing_mm: Spacing

    def __post_init__(self) -> None:
        for name in ("source_shape", "shape", "spacing_mm"):
            object.__setattr__(self, name, tuple(getattr(self, name)))

    @property
    def cropped_shape(self) -> Shape:
        """Shape after the crop, before resampling, in the network's axes."""
        return self.box.shape

    @property
    def cropped_spacing_mm(self) -> Spacing:
        """Spacing before resampling, in the network's axes."""
        z, y, x = (self.source_geometry.spacing_mm[k] for k in self.order.permutation)
        return z, y, x

    @property
    def is_resampled(self) -> bool:
        """Whether the network's grid has another shape than the crop."""
        return self.shape != self.cropped_shape

    @property
    def geometry(self) -> Geometry:
        """Where the network's grid lies: its field of view is the crop's."""
        ordered = self.order.apply_geometry(self.source_geometry, self.source_shape)
        cropped = self.box.crop_geometry(ordered)
        counts = list(zip(cropped.spacing_mm, self.cropped_shape, self.shape, strict=True))
        # The spacing that the shapes imply: rounding to whole voxels makes it differ a little from
        # the wanted.
        first = [(n / m - 1) / 2 for _, n, m in counts]
        z, y, x = (s * n / m for s, n, m in counts)
        origin = tuple(cropped.world_from_index(first).tolist())
        return Geometry((z, y, x), origin, cropped.direction)

    def source_slices(self, first: int, last: int) -> tuple[slice, slice, slice]:
        """Return where planes ``first`` to ``last`` (excluded) of the crop lie in what came.

        ``order.apply(array[source_slices])`` are these planes, in the network's axes.
        """
        starts, stops = list(self.box.start), list(self.box.stop)
        starts[0], stops[0] = self.box.start[0] + first, self.box.start[0] + last
        slices = [slice(0)] * 3
        for axis, flip, start, stop in zip(
            self.order.permutation, self.order.flips, starts, stops, strict=True
        ):
            n = self.source_shape[axis]
            slices[axis] = slice(n - stop, n - start) if flip else slice(start, stop)
        z, y, x = slices
        return z, y, x

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dict; `from_dict` is the way back."""
        return {
            "source_shape": list(self.source_shape),
            "source_geometry": self.source_geometry.to_dict(),
            "permutation": list(self.order.permutation),
            "flips": list(self.order.flips),
            "box": self.box.to_dict(),
            "shape": list(self.shape),
            "spacing_mm": list(self.spacing_mm),
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Preparation:
        """Return the preparation of a dict made by `to_dict`."""
        return cls(
            source_shape=fields["source_shape"],
            source_geometry=Geometry(**fields["source_geometry"]),
            order=AxisOrder(tuple(fields["permutation"]), tuple(fields["flips"])),
            box=Box(**fields["box"]),
            shape=fields["shape"],
            spacing_mm=fields["spacing_mm"],
        )


@dataclass(frozen=True, eq=False)
class Prepared:
    """A case as the network sees it.

    Parameters
    ----------
    array : (c, z, y, x) float32 array
        Intensities on the network's grid.
    labels : (z, y, x) integer array or None
        The label map on the same grid, if one was given.
    preparation : Preparation
        The way back.
    """

    array: NDArray[np.float32]
    labels: NDArray[Any] | None
    preparation: Preparation


def prepare(
    volumes: Volume | Sequence[Volume],
    preprocessing: Preprocessing,
    *,
    labels: Volume | None = None,
    label_rule: Literal["linear", "nearest"] = "linear",
) -> Prepared:
    """Turn one case into the network's array.

    Parameters
    ----------
    volumes : Volume or sequence of Volume
        The channels, all on one grid; finite values.
    preprocessing : Preprocessing
        What the network expects.
    labels : Volume, optional
        Its label map, on the same grid. The image's result does not depend on it.
    label_rule : {"linear", "nearest"}
        See `flare_io.resample_labels.resample_labels`.

    Returns
    -------
    Prepared

    Raises
    ------
    ValueError
        If the number of volumes is not that of the channels.
    GeometryError
        If volumes or labels lie on different grids.

    Notes
    -----
    Equal to nnU-Net 2.8.1's ``DefaultPreprocessor`` with ``axes="as_stored"``: normalization bit
    for bit, resampling to the last bit of float32. Differences: labels outside the image's nonzero
    region stay 0 and are not marked -1, and never widen the mask of ``within_mask``.

    Peak memory: one channel in float32, the result, and what `flare_io.resample.resample_image`
    needs.

    Examples
    --------
    >>> ct = Volume(np.full((10, 8, 8), 80, np.int16), Geometry((2.0, 1.0, 1.0)))
    >>> scheme = Intensity(scheme="ct", mean=80, std=140, low=-960, high=300)
    >>> wanted = Preprocessing(spacing_mm=(4.0, 2.0, 2.0), intensities=(scheme,))
    >>> case = prepare(ct, wanted)
    >>> case.array.shape, float(case.array.max())
    ((1, 5, 4, 4), 0.0)
    >>> restore(np.ones((5, 4, 4), np.uint8), case.preparation).shape
    (10, 8, 8)
    """
    arrays, preparation = plan_preparation(volumes, preprocessing)
    box = preparation.box
    label_array = None
    if labels is not None:
        first = volumes if isinstance(volumes, Volume) else volumes[0]
        aligned, _ = _reordered(labels, preprocessing)
        require_same_grid(aligned, _reordered(first, preprocessing)[0], name="labels")
        label_array = np.ascontiguousarray(
            resample_labels(
                box.extract(aligned.array),
                preparation.shape,
                rule=label_rule,
                separate_axis=coarse_axis(preparation, preprocessing),
            )
        )
    mask = None
    if any(intensity.within_mask for intensity in preprocessing.intensities):
        mask = _filled(_occupied([box.extract(array) for array in arrays]))
    result = np.empty((len(arrays), *preparation.shape), dtype=np.float32)
    for target, array, intensity in zip(result, arrays, preprocessing.intensities, strict=True):
        _fill_channel(target, array, intensity, mask, preparation, preprocessing)
    return Prepared(result, label_array, preparation)


def plan_preparation(
    volumes: Volume | Sequence[Volume], preprocessing: Preprocessing
) -> tuple[list[NDArray[Any]], Preparation]:
    """Check the channels of a case and find the network's grid, without preparing voxels.

    Returns
    -------
    arrays : list of (z, y, x) arrays
        Views of the channels in the network's axes, not cropped.
    preparation : Preparation

    Raises
    ------
    ValueError, GeometryError
        As `prepare`.
    """
    channels = [volumes] if isinstance(volumes, Volume) else list(volumes)
    if len(channels) != len(preprocessing.intensities):
        raise ValueError(
            f"volumes must be {len(preprocessing.intensities)}, one per intensity scheme, "
            f"got {len(channels)}"
        )
    reordered = [_reordered(channel, preprocessing) for channel in channels]
    reference, order = reordered[0]
    for number, (channel, _) in enumerate(reordered[1:], start=1):
        require_same_grid(channel, reference, name=f"channel {number}")
    arrays = [channel.array for channel, _ in reordered]
    box = nonzero_box(_occupied(arrays)) if preprocessing.crop == "nonzero" else None
    box = box or Box.whole(reference.shape)
    spacing = reference.geometry.spacing_mm
    new_spacing = preprocessing.spacing_mm or spacing
    preparation = Preparation(
        source_shape=channels[0].shape,
        source_geometry=channels[0].geometry,
        order=order,
        box=box,
        shape=target_shape(box.shape, spacing, new_spacing),
        spacing_mm=new_spacing,
    )
    return arrays, preparation


def restore(label_map: NDArray[Any], preparation: Preparation) -> Volume:
    """Bring a label map back to the grid that came, voxel for voxel.

    Parameters
    ----------
    label_map : (z, y, x) integer array
        On the network's grid (``preparation.shape``; resampled to the nearest voxel) or on the crop
        (``preparation.cropped_shape``; nothing is resampled).
    preparation : Preparation
        What `prepare` returned.

    Returns
    -------
    Volume
        With the source's shape and geometry; 0 outside the crop.

    Raises
    ------
    ValueError
        If the shape is neither of the two.

    Examples
    --------
    >>> grid = Geometry((1.0, 1.0, 1.0), direction=((-1, 0, 0), (0, 1, 0), (0, 0, 1)))
    >>> ct = Volume(np.array([0, 7, 9]).reshape(3, 1, 1), grid)
    >>> case = prepare(ct, Preprocessing(spacing_mm=None, intensities=(Intensity(scheme="none"),)))
    >>> case.array.ravel().tolist()
    [9.0, 7.0]
    >>> restore(np.array([2, 1]).reshape(2, 1, 1), case.preparation).array.ravel().tolist()
    [0, 1, 2]
    """
    if label_map.shape not in (preparation.shape, preparation.cropped_shape):
        raise ValueError(
            f"label_map must have the network's shape {preparation.shape} or the crop's "
            f"{preparation.cropped_shape}, got {label_map.shape}"
        )
    cropped = resample_labels(label_map, preparation.cropped_shape)
    whole = np.zeros(preparation.source_shape, dtype=label_map.dtype)
    preparation.order.apply(whole)[preparation.box.slices] = cropped
    return Volume(whole, preparation.source_geometry)


def coarse_axis(preparation: Preparation, preprocessing: Preprocessing) -> int | None:
    """Return the axis that is resampled on its own on the way to the network's grid, or None."""
    return separate_axis(
        preparation.cropped_spacing_mm,
        preparation.spacing_mm,
        threshold=preprocessing.anisotropy_threshold,
    )


def _reordered(volume: Volume, preprocessing: Preprocessing) -> tuple[Volume, AxisOrder]:
    order = AxisOrder((0, 1, 2), (False, False, False))
    if preprocessing.axes == "canonical":
        order = canonical_axis_order(volume.geometry)
    z, y, x = preprocessing.transpose
    order = AxisOrder(
        (order.permutation[z], order.permutation[y], order.permutation[x]),
        (order.flips[z], order.flips[y], order.flips[x]),
    )
    return volume.reordered(order), order


def _occupied(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return an array that is 0 exactly where every channel is; one channel is returned itself."""
    if len(arrays) == 1:
        return arrays[0]
    occupied: NDArray[np.bool_] = arrays[0] != 0
    for array in arrays[1:]:
        occupied |= array != 0
    return occupied


def _filled(occupied: NDArray[Any]) -> NDArray[np.bool_]:
    from scipy.ndimage import binary_fill_holes

    mask: NDArray[np.bool_] = occupied != 0
    return mask if mask.all() else np.asarray(binary_fill_holes(mask))


def _fill_channel(
    target: NDArray[np.float32],
    array: NDArray[Any],
    intensity: Intensity,
    mask: NDArray[np.bool_] | None,
    preparation: Preparation,
    preprocessing: Preprocessing,
) -> None:
    # Laid out in memory as before the transpose, and the crop a view: float32 sums depend on the
    # strides, and this is the layout that nnU-Net sums over.
    back = tuple(int(k) for k in np.argsort(preprocessing.transpose))
    whole = np.array(array.transpose(back), dtype=np.float32, order="C")
    values = preparation.box.extract(whole.transpose(preprocessing.transpose))
    if preprocessing.normalize_first:
        intensity.apply_in_place(values, mask)
    target[:] = resample_image(
        values,
        preparation.shape,
        order=preprocessing.image_order,
        separate_axis=coarse_axis(preparation, preprocessing),
        order_separate=preprocessing.image_order_z,
    )
    if not preprocessing.normalize_first:
        intensity.apply_in_place(target)
