import math

import pytest

from flare_infer.components import Components


def test_round_trip_and_refusals():
    for rule in (Components(), Components(min_share=1, min_mm3=math.inf)):
        assert Components.from_dict(rule.to_dict()) == rule
    with pytest.raises(ValueError, match="min_share must lie in 0 to 1, got 5"):
        Components(min_share=5)
    with pytest.raises(ValueError, match="min_mm3 must be at least 0, got nan"):
        Components(min_mm3=math.nan)
    with pytest.raises(ValueError, match=r"unknown fields \['min_voxels'\]"):
        Components.from_dict({"min_voxels": 3})
