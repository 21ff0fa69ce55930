"""Real CuPy, where there is a device; apart from the stand-in, which would take its place."""

import numpy as np
import pytest

from flare_fusion import fuse
from flare_fusion.engine import apply_table

from .device_arrays import same
from .test_invariance import LAYOUTS, RULES, compiled, drawn

pytestmark = pytest.mark.gpu
cupy = pytest.importorskip("cupy")


@pytest.mark.parametrize(("name", "names"), RULES, ids=str)
@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.int16, np.uint64])
def test_cupy_gives_the_same(name, names, kind):
    rule = compiled(name, names)
    maps = {key: array.astype(kind) for key, array in drawn(rule, (9, 40, 64), 3).items()}
    for layout in ("as it is", "fortran", "every other"):
        changed = {key: LAYOUTS[layout](array) for key, array in maps.items()}
        there = apply_table(
            rule,
            {key: cupy.asarray(array) for key, array in changed.items()},
            provenance=True,
            agreement=True,
        )
        assert isinstance(there.label_map, cupy.ndarray)
        same(apply_table(rule, changed, provenance=True, agreement=True), there, cupy.asnumpy)


def test_cupy_names_a_label_outside_of_a_source():
    maps = {key: cupy.zeros((2, 4, 8), "u1") for key in ("A", "B", "partial")}
    maps["B"][1, 2, 3] = 14
    with pytest.raises(ValueError, match="source B must hold only the labels 0 to 13, found 14"):
        fuse(maps, rule="s1-labeled")
