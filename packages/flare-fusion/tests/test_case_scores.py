"""Figures of the cases of a dataset by which to select."""

import numpy as np
import pytest

from flare_fusion.case_scores import case_scores
from flare_fusion.selection import agreement_of_pair, instability
from flare_io.errors import DatasetError

from .small_dataset import MAPS, labels, write_labels


def test_agreement_of_the_manifests_sets(dataset):
    figures = case_scores(dataset, by="agreement")
    assert [(each.case, each.labeled) for each in figures] == [
        ("labeled", True),
        ("unlabeled", False),
    ]
    for each in figures:
        pair = (MAPS[name][each.case] for name in "AB")
        assert each.figure == agreement_of_pair(*pair, labels=range(1, 14))


def test_instability_over_rounds_in_their_order(dataset, tmp_path):
    rounds = [labels(30 + k, 3) for k in range(3)]
    for k, array in enumerate(rounds):
        for case in ("labeled", "unlabeled"):
            write_labels(tmp_path / f"round{k}", case, array)
    folders = {f"R{k}": tmp_path / f"round{k}" for k in range(3)}
    forward = case_scores(dataset, by="instability", sources=["R0", "R1", "R2"], folders=folders)
    assert forward[0].figure == instability(rounds)
    back = case_scores(dataset, by="instability", sources=["R2", "R1", "R0"], folders=folders)
    assert back[0].figure == instability(rounds[::-1])


def test_a_case_that_cannot_be_read_costs_no_other(dataset):
    (dataset / "pseudoA" / "labeled.nii.gz").write_bytes(b"torn")
    bad, good = case_scores(dataset, by="agreement")
    assert bad.error["source"].endswith("pseudoA/labeled.nii.gz")
    assert bad.status == "failed"
    assert good.error is None


def test_another_grid_is_refused_unless_asked_for(dataset):
    write_labels(dataset / "pseudoA", "labeled", np.zeros((2, 2, 2), np.uint8))
    assert "--resample" in case_scores(dataset, by="agreement")[0].error["remedy"]
    assert case_scores(dataset, by="agreement", resample=True)[0].error is None


def test_what_is_wrong_with_the_call_is_said_before_any_work(dataset, tmp_path):
    with pytest.raises(ValueError, match="agreement needs two different sources, got A, A"):
        case_scores(dataset, by="agreement", sources=("A", "A"))
    with pytest.raises(ValueError, match="instability needs two or more rounds, got A"):
        case_scores(dataset, by="instability", sources=("A",))
    with pytest.raises(DatasetError, match="source A must be a folder"):
        case_scores(dataset, by="agreement", folders={"A": tmp_path / "gone"})
