import dataclasses

import numpy as np
import pytest

from flare_train.admission import check_cases
from flare_train.config import LossConfig
from flare_train.errors import TrainingDataError


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda cases: [], "at least one training case, got none"),
        (lambda cases: [cases[0], cases[0]], "case_0: this case was given twice"),
        (
            lambda cases: [dataclasses.replace(cases[0], annotated=frozenset({1}))],
            r"case_0: does not annotate the classes \[14\].*fuse",
        ),
        (
            lambda cases: [cases[0], dataclasses.replace(cases[1], spacing_mm=(1.0, 2.0, 2.0))],
            "case_1: all cases must have one spacing",
        ),
        (
            lambda cases: [dataclasses.replace(cases[0], image=np.zeros((2, *cases[0].shape)))],
            r"case_0: the net takes 1 image channel\(s\), found 2",
        ),
        (
            lambda cases: [dataclasses.replace(cases[0], voxels={3: cases[0].locations(1)})],
            r"case_0: label ids must be among the classes \[0, 1, 14\], found \[3\]",
        ),
        (
            lambda cases: [dataclasses.replace(cases[0], voxels={1: cases[0].locations(1)})],
            r"the classes \[14\] occur in none of the 1 training cases",
        ),
    ],
    ids=["none", "twice", "partial", "spacing", "channels", "label", "never"],
)
def test_unfit_cases_are_refused_by_name(cases, config, change, message):
    with pytest.raises(TrainingDataError, match=message):
        check_cases(change(list(cases)), config)


def test_naive_accepts_partial_labels(cases, make_config):
    partial = [dataclasses.replace(cases[0], annotated=frozenset({1}))]
    check_cases(partial, make_config(loss=LossConfig(partial="naive")))
