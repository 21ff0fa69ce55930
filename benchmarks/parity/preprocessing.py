"""Hold `flare_io.prepare` against nnU-Net's own preprocessor, array by array.

``python benchmarks/parity/preprocessing.py --peer PEER_PYTHON`` writes the cases, lets the peer's
interpreter work on them, prints a table and exits with 1 when a case is not equal. The peer's
interpreter needs nnunetv2 only, this one flare-io only.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flare_io.geometry import Geometry
from flare_io.intensity import Intensity
from flare_io.preparation import prepare
from flare_io.preprocessing import Preprocessing
from flare_io.volume import Volume

# Where the float64 results agree to 1e-12, the cast to float32 can still fall to either side.
LARGEST_STEPS = 2

CT = Intensity(scheme="ct", mean=79.43, std=142.0, low=-972.0, high=294.0)
ZSCORE = Intensity(scheme="zscore")
MASKED = Intensity(scheme="zscore", within_mask=True)


@dataclass(frozen=True)
class ParityCase:
    """One input with its settings."""

    image: NDArray[np.float32]
    spacing_mm: tuple[float, float, float]
    settings: Preprocessing
    labels: NDArray[np.uint8] | None = None


def blobs(shape: tuple[int, int, int], seed: int) -> NDArray[np.float64]:
    """Return smooth noise of mean 0 with structures a few voxels wide."""
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2.0)
    scaled: NDArray[np.float64] = noise / noise.std()
    return scaled


def ct_like(shape: tuple[int, int, int], seed: int) -> NDArray[np.float32]:
    """Return Hounsfield units with air, tissue and noise, whole numbers."""
    rng = np.random.default_rng(seed + 1000)
    hu = np.where(blobs(shape, seed) > -0.3, 40.0, -1000.0) + rng.normal(0, 25, shape)
    return np.rint(hu).astype(np.float32)[None]


def label_map(shape: tuple[int, int, int], seed: int) -> NDArray[np.uint8]:
    """Return five classes that touch each other in planes, edges and corners."""
    fields = np.stack([blobs(shape, seed + k) for k in range(5)])
    return np.argmax(fields, axis=0).astype(np.uint8)


def zero_bordered(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the image with an empty border, an empty hole inside and an empty bay."""
    result = image.copy()
    z, y, x = result.shape[1:]
    result[:, : z // 5] = 0
    result[:, :, y - y // 6 :] = 0
    result[:, :, :, : x // 7] = 0
    result[:, z // 2, y // 2 : y // 2 + 4, x // 2 : x // 2 + 4] = 0
    result[:, z - 4 :, : y // 3, x // 2 :] = 0
    return result


def cases() -> Iterator[tuple[str, ParityCase]]:
    """Yield the named cases: spacings, axes, crops, schemes and label maps."""
    shape = (30, 44, 52)
    ct = ct_like(shape, 0)
    labels = label_map(shape, 5)

    def settings(*spacing_mm: float, **fields: object) -> Preprocessing:
        fields = {"intensities": (CT,), "axes": "as_stored", **fields}
        return Preprocessing(spacing_mm=spacing_mm, **fields)  # type: ignore[arg-type]

    isotropic = (2.0, 1.3, 1.3)
    yield "downsampled", ParityCase(ct, isotropic, settings(2.5, 2.1, 2.1), labels)
    yield "upsampled", ParityCase(ct, isotropic, settings(1.2, 0.9, 0.8), labels)
    yield "exact-halves", ParityCase(ct, isotropic, settings(4.0, 2.6, 2.6), labels)
    yield "exact-doubles", ParityCase(ct, isotropic, settings(1.0, 0.65, 0.65), labels)
    yield "unchanged", ParityCase(ct, isotropic, settings(*isotropic), labels)
    yield "thick-slices", ParityCase(ct, (5.0, 0.8, 0.8), settings(2.5, 1.1, 0.7), labels)
    yield "thick-target", ParityCase(ct, (2.0, 0.8, 0.8), settings(5.0, 1.2, 1.2), labels)
    yield (
        "thick-slices-linear",
        ParityCase(
            ct, (5.0, 0.8, 0.8), settings(2.5, 1.1, 0.7, image_order=1, image_order_z=1), labels
        ),
    )
    yield (
        "thick-last-axis",
        ParityCase(ct, (0.8, 0.9, 5.0), settings(1.2, 1.3, 3.0), labels),
    )
    yield "two-coarse-axes", ParityCase(ct, (0.5, 2.0, 2.0), settings(1.0, 1.5, 1.5), labels)
    yield (
        "transposed",
        ParityCase(ct, isotropic, settings(2.2, 1.9, 2.4, transpose=(2, 0, 1)), labels),
    )
    bordered = zero_bordered(ct)
    yield "cropped", ParityCase(bordered, isotropic, settings(2.5, 2.1, 2.1))
    for name, scheme in (("zscore", ZSCORE), ("zscore-in-mask", MASKED)):
        fields = {"intensities": (scheme,), "transpose": (1, 2, 0)}
        yield name, ParityCase(bordered, isotropic, settings(2.5, 2.1, 2.1, **fields))
    pair = np.concatenate([bordered, zero_bordered(ct_like(shape, 1))[:, :, ::-1]])
    both = settings(1.7, 2.1, 2.1, intensities=(MASKED, Intensity(scheme="rescale")))
    yield "two-channels", ParityCase(pair, isotropic, both)
    color = np.clip(ct + 100, 0, 255)
    three = (Intensity(scheme="rgb"), Intensity(scheme="none"), ZSCORE)
    stacked = np.concatenate([color] * 3)
    yield "rgb-none", ParityCase(stacked, isotropic, settings(2.5, 1.1, 1.4, intensities=three))
    yield "all-zero", ParityCase(np.zeros_like(ct), isotropic, settings(2.5, 2.1, 2.1))
    yield "one-slice", ParityCase(ct[:, :1], (3.0, 1.3, 1.3), settings(1.5, 1.0, 1.0), labels[:1])


def ct_cases(paths: list[Path]) -> Iterator[tuple[str, ParityCase]]:
    """Yield real scans, as stored, at the spacings of a fine and of a coarse model."""
    from flare_io.files import read_volume

    for path in paths:
        volume = read_volume(path)
        for name, spacing_mm in (("fine", (2.5, 0.8, 0.8)), ("coarse", (4.0, 1.2, 1.2))):
            settings = Preprocessing(spacing_mm=spacing_mm, intensities=(CT,), axes="as_stored")
            image = volume.array[None].astype(np.float32)
            case = ParityCase(image, volume.geometry.spacing_mm, settings)
            yield f"{path.name.split('.')[0]}-{name}", case


def steps_apart(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the distance in float32 steps, taken at the array's scale where values are small."""
    scale = np.maximum(np.abs(b), np.abs(b).max() * 2.0**-6)
    apart: NDArray[np.float64] = np.abs(a.astype(float) - b) / np.spacing(scale)
    return apart


def compare(name: str, case: ParityCase, peer: dict[str, NDArray[np.generic]]) -> bool:
    """Print one line of the table; return whether the case counts as equal."""
    grid = Geometry(case.spacing_mm)
    ours = prepare(
        [Volume(channel, grid) for channel in case.image],
        case.settings,
        labels=None if case.labels is None else Volume(case.labels, grid),
    )
    box = ours.preparation.box
    same_box = peer[f"{name}.box"].T.tolist() == [list(box.start), list(box.stop)]
    theirs = peer[f"{name}.array"].astype(np.float32, copy=False)
    if not same_box or theirs.shape != ours.array.shape:
        print(f"{name:22} DIFFERENT GRID {theirs.shape} {ours.array.shape}, same box: {same_box}")
        return False
    steps = steps_apart(ours.array, theirs)
    equal = float((ours.array == theirs).mean())
    off = 0
    if ours.labels is not None:
        # The peer marks what lies outside the nonzero region -1; to the network it is background.
        off = int((ours.labels != np.maximum(peer[f"{name}.labels"], 0)).sum())
    good = steps.max() <= LARGEST_STEPS and off == 0
    print(
        f"{name:22} {ours.array.shape!s:20} bit-equal {100 * equal:9.5f} %  "
        f"worst {steps.max():5.2f} steps  labels off {off:4d}  {'ok' if good else 'DIFFERENT'}"
    )
    return bool(good)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", required=True, help="interpreter of an environment with nnunetv2")
    parser.add_argument("--ct", type=Path, nargs="*", default=[], help="real scans to add")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        made = {**dict(cases()), **dict(ct_cases(arguments.ct))}
        written = {"names": np.array(json.dumps(list(made)))}
        for name, case in made.items():
            written[f"{name}.image"] = case.image
            written[f"{name}.spacing_mm"] = np.array(case.spacing_mm)
            written[f"{name}.settings"] = np.array(json.dumps(case.settings.to_dict()))
            if case.labels is not None:
                written[f"{name}.labels"] = case.labels
        inputs, outputs = Path(folder, "cases.npz"), Path(folder, "results.npz")
        np.savez(inputs, **written)
        script = Path(__file__).with_name("preprocessing_nnunet.py")
        subprocess.run([arguments.peer, str(script), str(inputs), str(outputs)], check=True)
        peer = dict(np.load(outputs))
    print(f"flare_io.prepare against nnunetv2 {peer['version']}, {len(made)} cases")
    good = [compare(name, case, peer) for name, case in made.items()]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
