import re
from collections import Counter

import pytest

from flare_train.claims.register import (
    SCALES,
    Comparison,
    arm_stages,
    claim_ids,
    read_claim,
    settled_document,
)
from flare_train.claims.shared_graph import shared_graph
from flare_train.stages.graph import Stage, in_order, stage_keys
from flare_train.stages.kinds import read_settings


def arm_of(claim, name):
    return next(arm for arm in claim.arms if arm.name == name)


def graph_of(id, *, scale="mini", seeds=2):
    claim = read_claim(id)
    return shared_graph(
        {
            (arm.name, seed): arm_stages(claim, arm, scale=scale, seed=seed)
            for seed in claim.seeds(seeds)
            for arm in claim.arms
        }
    )


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("id", claim_ids())
def test_every_arm_of_every_claim_is_a_graph(id, scale):
    claim = read_claim(id)
    assert sum(comparison.primary for comparison in claim.comparisons) == 1
    assert claim.title
    assert claim.published
    stages, names = graph_of(id, scale=scale)
    assert in_order(stages)
    for place in names.values():
        assert {"data", "scored", "predicted", "net"} <= set(place)
    kinds = {stage.name: stage.kind for stage in stages}
    assert all(kinds[place["scored"]] == "score" for place in names.values())


@pytest.mark.parametrize("id", claim_ids())
def test_arms_of_one_seed_share_patients_and_differ_in_what_is_scored(id):
    claim = read_claim(id)
    _, names = graph_of(id)
    for seed in claim.seeds(2):
        places = [names[arm.name, seed] for arm in claim.arms]
        assert len({place["data"] for place in places}) == 1
        assert len({place["scored"] for place in places}) == len(places)


def test_seeds_share_nothing_but_the_plan():
    _, names = graph_of("C5")
    first, second = names["naive", 0], names["naive", 1]
    assert not set(first.values()) & set(second.values())


def test_training_seeds_are_paired_and_move_with_the_seed():
    claim = read_claim("C5")
    seeds = {
        (arm.name, seed): next(
            stage.settings["config"]["seed"]
            for stage in arm_stages(claim, arm, scale="mini", seed=seed)
            if stage.kind == "train"
        )
        for arm in claim.arms
        for seed in (0, 1)
    }
    assert all(value == seed for (_, seed), value in seeds.items())


def test_the_same_arm_of_two_claims_is_one_piece_of_work():
    # Naive partial labels are the baseline of both.
    first, second = (graph_of(id)[1]["naive", 0] for id in ("C2", "C5"))
    assert first == second


def test_shared_stages_are_done_once():
    stages, _ = graph_of("C3", seeds=1)
    kinds = Counter(stage.kind for stage in stages)
    # Two first nets, four final ones; two cases of three votes.
    assert kinds["train"] == 6
    assert kinds["phantom"] == 1


def test_only_the_named_factor_changes():
    claim = read_claim("C5")
    naive, marginal = (
        {
            stage.name: stage.settings
            for stage in arm_stages(claim, arm_of(claim, name), scale="mini", seed=0)
        }
        for name in ("naive", "marginal")
    )
    assert naive["data"] == marginal["data"]
    assert naive["cases"] == marginal["cases"]
    first, second = (dict(each["net"]["config"]) for each in (naive, marginal))
    assert first.pop("loss") == {"partial": "naive", "batch_dice": True}
    assert second.pop("loss") == {"partial": "marginal", "batch_dice": True}
    assert first == second


def test_names_are_kept_whatever_else_runs():
    claim = read_claim("C5")
    alone = {("naive", 0): arm_stages(claim, claim.arms[0], scale="mini", seed=0)}
    assert shared_graph(alone)[1]["naive", 0] == graph_of("C5")[1]["naive", 0]


def test_references_follow_the_new_names():
    data = Stage(name="d", kind="phantom", settings={"preset": "unit", "cases": 2, "test_cases": 1})
    some = Stage(name="s", kind="select", settings={"data": "d", "first": 1}, inputs=("d",))
    cases = Stage(
        name="c",
        kind="prepare",
        settings={
            "data": "d",
            "labels": [{"source": "d", "cases": "s"}, {"source": "d", "map": "reference"}],
            "preprocessing": {},
        },
        inputs=("d", "s"),
    )
    model = Stage(name="m", kind="model", settings={"members": ["n"]}, inputs=("n",))
    net = Stage(
        name="n",
        kind="train",
        settings={"store": "c", "classes": [1], "config": {}},
        inputs=("c",),
    )
    predicted = Stage(
        name="p", kind="predict", settings={"data": "d", "model": "m", "cases": "test"},
        inputs=("d", "m"),
    )  # fmt: skip
    stages, places = shared_graph({"only": [data, some, cases, net, model, predicted]})
    names = places["only"]
    by_old = {old: next(s for s in stages if s.name == new) for old, new in names.items()}
    prepare = read_settings("prepare", by_old["c"].settings, name="c")
    assert [source.source for source in prepare.labels] == [names["d"]] * 2
    assert [source.cases for source in prepare.labels] == [names["s"], ""]
    assert prepare.labels[1].map == "reference"
    assert by_old["m"].settings["members"] == [names["n"]]
    assert by_old["p"].settings["cases"] == "test"
    assert by_old["p"].inputs == (names["d"], names["m"])
    assert stage_keys(stages)


def test_a_claim_that_needs_one_net_has_one():
    claim = read_claim("C8")
    assert claim.seeds(3) == range(1)
    stages, _ = graph_of("C8", seeds=3)
    assert [stage.kind for stage in stages].count("train") == 1


def test_eight_and_twentyfour_labeled_cases():
    claim = read_claim("C3")
    for arm in claim.arms:
        document = settled_document(claim, arm, scale="mini")
        assert document["stages"]["some"]["first"] == int(arm.name.split()[1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: read_claim("C55"), "there is no claim 'C55'; did you mean 'C5'?"),
        (
            lambda: arm_stages(read_claim("C5"), read_claim("C5").arms[0], scale="huge", seed=0),
            "scale must be one of mini, unit, got 'huge'",
        ),
        (
            lambda: Comparison(first="a", second="b", measure="dice", expect="higher"),
            "measure must be one of organ_dsc",
        ),
        (
            lambda: Comparison(first="a", second="b", measure="organ_dsc", expect="more"),
            "expect must be one of higher, lower, same, got 'more'",
        ),
    ],
)
def test_what_is_not_in_the_register(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()
