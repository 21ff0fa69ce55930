"""Random numbers named by what they are for, so that no order of work can change them.

A stream is a pure function of its key: seed, iteration, sample, purpose. Batches therefore do not
depend on the number of workers, and a resumed run needs no stored generator state.
"""

from __future__ import annotations

import hashlib

import numpy as np

__all__ = ["stream", "stream_seed"]


def _digest(seed: int, keys: tuple[int | str, ...]) -> bytes:
    # repr keeps 1 and "1" apart, and the tuple's brackets keep (1, 23) and (12, 3) apart.
    return hashlib.sha256(repr((seed, *keys)).encode()).digest()


def stream(seed: int, *keys: int | str) -> np.random.Generator:
    """Return the generator that belongs to a key.

    Parameters
    ----------
    seed : int
        Seed of the run.
    *keys : int or str
        What the numbers are for, such as ``iteration, sample, "rotation"``.

    Returns
    -------
    numpy.random.Generator
        A Philox generator; two different keys give independent streams. About 15 microseconds.

    Examples
    --------
    >>> first, again = stream(0, 7, "noise"), stream(0, 7, "noise")
    >>> first.random() == again.random(), first.random() == stream(0, 8, "noise").random()
    (True, False)
    """
    return np.random.Generator(
        np.random.Philox(key=int.from_bytes(_digest(seed, keys)[:16], "little"))
    )


def stream_seed(seed: int, *keys: int | str) -> int:
    """Return a 63-bit seed for a generator of another library, such as ``torch.Generator``.

    Examples
    --------
    >>> stream_seed(0, 1) == stream_seed(0, 1), 0 <= stream_seed(0, 1) < 2**63
    (True, True)
    """
    return int.from_bytes(_digest(seed, keys)[16:24], "little") >> 1
