"""Many cases one after the other: a bad case costs one case."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from flare_infer.channels import Image
from flare_io.volume import Volume

__all__ = ["Outcome", "iterate_outcomes"]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one image of `Predictor.predict_many`.

    Parameters
    ----------
    image
        As it was given.
    labels : Volume or None
        None where it failed.
    error : Exception or None
        Why it failed.
    seconds : mapping of str to float
        By step: read, prepare, search (fast mode), network, decide, restore.
    """

    image: Any
    labels: Volume | None = None
    error: Exception | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)


def iterate_outcomes(
    segment: Callable[[Image, dict[str, float]], Volume],
    images: Iterable[Image],
    *,
    progress: bool = False,
) -> Iterator[Outcome]:
    """Segment images one after the other.

    Parameters
    ----------
    segment : callable
        From an image to its labels; fills a dict with seconds by step.
    images : iterable
        Each is asked for when the one before is done.
    progress : bool
        Show a bar on stderr.

    Yields
    ------
    Outcome
        In the order of the images, each when it is done; none for no image.
    """
    from tqdm import tqdm

    for image in tqdm(images, desc="cases", unit="case", disable=not progress):
        seconds: dict[str, float] = {}
        try:
            labels = segment(image, seconds)
        except Exception as error:
            # One bad case costs one case, whatever it raised; Ctrl-C passes through.
            yield Outcome(image=image, error=error, seconds=seconds)
        else:
            yield Outcome(image=image, labels=labels, seconds=seconds)
