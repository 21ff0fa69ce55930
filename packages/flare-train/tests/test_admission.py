import dataclasses

import numpy as np
import pytest

from flare_train.admission import check_cases
from flare_train.config import LossConfig, SamplingConfig
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
            r"the class 14 occurs in none of the 1 training cases, 1 of which look for it; leave",
        ),
        (
            lambda cases: [dataclasses.replace(cases[0], voxels={})],
            r"case_0: its label map is empty although the classes \[1, 14\] were looked for; check",
        ),
        (
            lambda cases: [dataclasses.replace(cases[0], stated=cases[0].locations(1))],
            r"case_0: .* nobody states anything about; set loss.ignore_label = true",
        ),
    ],
    ids=["none", "twice", "partial", "spacing", "channels", "label", "never", "empty", "unstated"],
)
def test_unfit_cases_are_refused_by_name(cases, config, change, message):
    with pytest.raises(TrainingDataError, match=message):
        check_cases(change(list(cases)), config)


def test_naive_accepts_partial_labels(cases, make_config):
    partial = [dataclasses.replace(cases[0], annotated=frozenset({1}))]
    check_cases(partial, make_config(loss=LossConfig(partial="naive")))


def masked(**changes):
    return LossConfig(head="softmax", partial="marginal", **changes)


def test_partial_losses_take_what_a_case_annotates(cases, make_config):
    partial = [dataclasses.replace(cases[0], annotated=frozenset({1})), cases[1]]
    check_cases(partial, make_config(loss=masked()))
    check_cases(partial, make_config(loss=masked(partial_labels=(14,))))
    with pytest.raises(TrainingDataError, match=r"case_0: does not annotate the classes \[14\]"):
        check_cases(partial, make_config(loss=masked(partial_labels=(1,))))


def test_unlabeled_cases_teach_no_labels(cases, make_config):
    unlabeled = dataclasses.replace(cases[0], annotated=frozenset(), voxels={})
    with pytest.raises(TrainingDataError, match=r"case_0: annotates none of .* \[1, 14\]"):
        check_cases([unlabeled, cases[1]], make_config(loss=masked()))
    check_cases([unlabeled, cases[1]], make_config(loss=LossConfig(partial="naive")))


def test_class_that_nobody_looks_for(cases, make_config):
    partial = [
        dataclasses.replace(cases[0], annotated=frozenset({1}), voxels={1: cases[0].locations(1)})
    ]
    with pytest.raises(TrainingDataError, match=r"class 14 .* none looks for it"):
        check_cases(partial, make_config(loss=masked()))
    # A net that has learned it already keeps it, but not under a loss that teaches background.
    check_cases(partial, make_config(loss=masked(), start="trained"))
    with pytest.raises(TrainingDataError, match=r"class 14 .* none looks for it"):
        check_cases(partial, make_config(loss=masked(), start="trained", start_parts="body"))
    with pytest.raises(TrainingDataError, match=r"class 14 .* none looks for it"):
        check_cases(partial, make_config(loss=LossConfig(partial="naive"), start="trained"))


def test_empty_cases_are_admitted_where_that_is_said_or_one_class_is_looked_for(cases, make_config):
    empty = dataclasses.replace(cases[0], voxels={})
    healthy = dataclasses.replace(empty, annotated=frozenset({14}))
    check_cases([empty, cases[1]], make_config(sampling=SamplingConfig(allow_empty=True)))
    check_cases([healthy, cases[1]], make_config(loss=masked()))


def test_unstated_voxels_need_the_ignore_label(cases, make_config):
    config = make_config(loss=LossConfig(ignore_label=True))
    check_cases([dataclasses.replace(cases[0], stated=cases[0].locations(1))], config)
    nothing = dataclasses.replace(cases[0], stated=np.zeros((0, 3), np.uint16))
    with pytest.raises(TrainingDataError, match="case_0: nobody states anything about any"):
        check_cases([nothing], config)


def test_labels_do_not_matter_to_restoring(cases, make_config):
    config = make_config(loss=LossConfig())
    restore = dataclasses.replace(
        config, task="restore", net=dataclasses.replace(config.net, out_channels=1)
    )
    unlabeled = dataclasses.replace(cases[0], annotated=frozenset(), voxels={3: np.zeros((1, 3))})
    check_cases([unlabeled], restore)
    with pytest.raises(TrainingDataError, match="the net takes 1 image channel"):
        check_cases([dataclasses.replace(unlabeled, image=np.zeros((2, 1, 1, 1)))], restore)


def test_weights_by_origin_need_a_case_with_origins(cases, make_config):
    config = make_config(loss=LossConfig(origin_weights={"tie": 0.0}))
    with pytest.raises(TrainingDataError, match="none of the 4 does; fuse with provenance"):
        check_cases(cases, config)
    known = dataclasses.replace(cases[0], origins=np.zeros(cases[0].labels.shape, np.uint8))
    check_cases([known, *cases[1:]], config)
