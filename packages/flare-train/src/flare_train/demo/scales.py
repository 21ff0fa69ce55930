"""How large a demo is: the phantom, the net and how long it is trained."""

from __future__ import annotations

from dataclasses import dataclass

from flare_io.intensity import Intensity
from flare_io.phantom import phantom_preset
from flare_io.preprocessing import Preprocessing
from flare_nets.config import NetConfig, Size
from flare_train.config import (
    AugmentConfig,
    LossConfig,
    OptimizerConfig,
    ScheduleConfig,
    TrainConfig,
)
from flare_train.run import RunConfig

__all__ = ["SCALES", "DemoScale", "demo_config", "demo_scale"]

# Soft tissue; what lies outside is clipped, so air and bone cannot drown the organs. Air becomes 0,
# the value that short scans are padded with.
_LOW_HU, _HIGH_HU = -160.0, 240.0

# Shifts and strong noise, as real CT differs from the phantom in contrast.
_AUGMENT = AugmentConfig(
    in_plane="never",
    rotation_p=0.4,
    rotation_degrees=(15.0, 8.0, 8.0),
    scale_p=0.5,
    scale=(0.75, 1.3),
    noise_p=0.3,
    noise_deviation=(0.0, 0.3),
    brightness_p=0.3,
    brightness=(0.75, 1.25),
    shift_p=0.5,
    shift=(-0.4, 0.4),
    contrast_p=0.3,
    contrast=(0.75, 1.25),
    gamma_p=0.3,
    gamma=(0.7, 1.5),
    gamma_inverted_p=0.1,
)


@dataclass(frozen=True, kw_only=True)
class DemoScale:
    """One size of the demo.

    Parameters
    ----------
    name : str
        Also the name of the phantom's preset.
    patch : (int, int, int)
        Slabs of the phantom, so that scans of a few slices are nothing new.
    cases, test_cases, validation_cases : int
        Training phantoms, held-out phantoms, and training phantoms kept back for the curve.
    features, strides : tuple
        Of the net; kernels are 3 x 3 x 3, two convolutions a stage, as Swift's.
    epochs, iterations_per_epoch : int
        Length of the training.
    smallest_dsc : float or None
        Mean organ DSC on the held-out phantoms below which the demo counts as failed.
    """

    name: str
    patch: Size
    cases: int
    test_cases: int
    validation_cases: int
    features: tuple[int, ...]
    strides: tuple[Size, ...]
    epochs: int
    iterations_per_epoch: int
    smallest_dsc: float | None = None


SCALES = {
    scale.name: scale
    for scale in (
        DemoScale(
            name="unit",
            patch=(12, 24, 24),
            cases=6,
            test_cases=2,
            validation_cases=1,
            features=(4, 8, 16),
            strides=((1, 1, 1), (1, 2, 2), (2, 2, 2)),
            epochs=2,
            iterations_per_epoch=15,
        ),
        DemoScale(
            name="mini",
            patch=(16, 48, 48),
            cases=48,
            test_cases=24,
            validation_cases=4,
            features=(8, 16, 32, 64),
            strides=((1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 2, 2)),
            epochs=20,
            iterations_per_epoch=50,
            smallest_dsc=0.75,
        ),
    )
}


def demo_scale(name: str) -> DemoScale:
    """Return a scale by name.

    Raises
    ------
    ValueError
        If there is none of that name.

    Examples
    --------
    >>> demo_scale("mini").smallest_dsc
    0.75
    """
    if name not in SCALES:
        raise ValueError(f"scale must be one of {', '.join(SCALES)}, got {name!r}")
    return SCALES[name]


def demo_config(scale: DemoScale, *, seed: int) -> RunConfig:
    """Return all settings of the demo's training run.

    Notes
    -----
    Swift's form (Huang et al., FLARE 2023) at a third of its width. AdamW in place of SGD, whose
    momentum of 0.99 needs thousands of iterations; the rest as nnU-Net's.
    """
    preset = phantom_preset(scale.name)
    classes = (0, *sorted(preset.classes))
    stages = len(scale.features)
    net = NetConfig(
        architecture="plain",
        in_channels=1,
        out_channels=len(classes),
        features=scale.features,
        kernels=((3, 3, 3),) * stages,
        strides=scale.strides,
        convs=(2,) * stages,
        decoder_convs=(2,) * (stages - 1),
        up_bias=False,
        head_bias=False,
    )
    intensity = Intensity(
        scheme="ct",
        mean=_LOW_HU,
        std=(_HIGH_HU - _LOW_HU) / 4,
        low=_LOW_HU,
        high=_HIGH_HU,
    )
    return RunConfig(
        train=TrainConfig(
            net=net,
            classes=classes,
            patch=scale.patch,
            epochs=scale.epochs,
            iterations_per_epoch=scale.iterations_per_epoch,
            seed=seed,
            validate_every=4,
            checkpoint_every=2,
            optimizer=OptimizerConfig(kind="adamw", learning_rate=5e-3, weight_decay=1e-2),
            schedule=ScheduleConfig(unit="iteration"),
            # S1's own reading: what a fused label map does not show as tumor is no tumor.
            loss=LossConfig(batch_dice=True, partial="naive"),
            augment=_AUGMENT,
        ),
        preprocessing=Preprocessing(
            spacing_mm=preset.spacing_mm,
            intensities=(intensity,),
            crop="none",
            image_order=1,
            anisotropy_threshold=float("inf"),
        ),
        validation_cases=scale.validation_cases,
    )
