"""One side of `augment.py`, in a process and an environment of its own; prints JSON.

Each side imports what it works by, so that the peer's environment needs none of ours.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

Sample = tuple[torch.Tensor, torch.Tensor]
Change = Callable[[int, torch.Tensor, torch.Tensor], Sample]


def ours(patch: tuple[int, ...], seed: int) -> Change:
    from flare_train.augment import augment, draw_parameters
    from flare_train.config import AugmentConfig

    config = AugmentConfig.preset("nnunet")

    def change(number: int, image: torch.Tensor, labels: torch.Tensor) -> Sample:
        drawn = draw_parameters(config, seed=seed, iteration=number, batch=1, patch=patch)
        images, targets = augment(image[None], labels[None], drawn, patch=patch)
        return images[0], targets[0]

    return change


def nnunet(patch: tuple[int, ...], seed: int, *, nearest: bool = False) -> Change:
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    np.random.seed(seed)  # noqa: NPY002  (the peer draws from this global state)
    torch.manual_seed(seed)
    flat = max(patch) / patch[0] > 3
    limit = np.pi if flat else np.pi / 6
    transforms = nnUNetTrainer.get_training_transforms(
        patch, (-limit, limit), None, (0, 1, 2), flat
    )
    if nearest:
        spatial = next(t for t in transforms.transforms if hasattr(t, "mode_seg"))
        spatial.mode_seg = "nearest"

    def change(number: int, image: torch.Tensor, labels: torch.Tensor) -> Sample:
        result = transforms(image=image, segmentation=labels)
        return result["image"], result["segmentation"]

    return change


SIDES: dict[str, Any] = {
    "ours": ours,
    "nnunet": nnunet,
    "nnunet, nearest labels": lambda patch, seed: nnunet(patch, seed, nearest=True),
}


def looks(image: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    """Return numbers that tell the changes apart: level, spread, roughness, share of labels."""
    steps = image[:, :, 1:] - image[:, :, :-1]
    return {
        "mean": image.mean().item(),
        "deviation": image.std().item(),
        "roughness": (steps.abs().median() / image.std()).item(),
        "largest": image.max().item(),
        "foreground": (labels > 0).float().mean().item(),
    }


def main() -> int:
    side, path, samples, seed = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    torch.set_num_threads(1)
    data = np.load(path)
    patch = tuple(int(n) for n in data["patch"])
    images = torch.from_numpy(data["images"])[:, None]
    labels = torch.from_numpy(data["labels"])
    change = SIDES[side](patch, seed)
    if side != "ours":
        labels = labels[:, None].to(torch.int16)
    times, walls, seen = [], [], []
    warm = 10
    for number in range(-warm, samples):
        # The peer changes what it is given; a loader gives fresh arrays to both.
        given = images[number % len(images)].clone(), labels[number % len(labels)].clone()
        start, cpu = time.perf_counter(), time.process_time()
        result = change(number + warm, *given)
        if number >= 0:
            times.append(1e3 * (time.process_time() - cpu))
            walls.append(1e3 * (time.perf_counter() - start))
            seen.append(looks(*result))
    found = sorted(int(label) for label in np.unique(data["labels"]))
    print(
        json.dumps(
            {
                "patch": patch,
                "labels": found,
                "cpu_ms": times,
                "wall_ms": walls,
                "looks": {name: [each[name] for each in seen] for name in seen[0]},
            }
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
