"""Rankings worked out by hand, and what must not change them."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flare_metrics.ranking import rank_teams
from flare_metrics.ranking_scheme import Quantity, RankingScheme, ranking_scheme
from flare_metrics.team_results import TeamResults

SCORE = RankingScheme(name="score", quantities=(Quantity(source="dsc"),))
BOTH = RankingScheme(
    name="both", quantities=(Quantity(source="dsc"), Quantity(source="time_s", tolerance=15))
)


def team(name, cases=None, **values):
    columns = {
        source: {f"c{k}": value for k, value in enumerate(column) if not math.isnan(value)}
        for source, column in values.items()
    }
    count = max(map(len, values.values()))
    return TeamResults(
        name=name, values=columns, cases=tuple(cases or (f"c{k}" for k in range(count)))
    )


def means(ranking):
    return {row.name: row.mean_rank for row in ranking.teams}


A = team("a", dsc=[0.9, 0.8, 0.7], time_s=[10, 30, 20])
B = team("b", dsc=[0.8, 0.8, 0.9], time_s=[14, 20, 15])
C = team("c", dsc=[0.7, 0.9, 0.8], time_s=[16, 40, 90])


def test_ranks_by_hand():
    ranking = rank_teams([A, B, C], scheme=BOTH)
    # dsc: c0 1 2 3; c1 2 2 1; c2 3 1 2. time: c0 1 1 3 (10 and 14 are perfect); c1 2 1 3;
    # c2 2 1 3 (15 is perfect, 20 is not).
    expected = {"a": 11 / 6, "b": 8 / 6, "c": 15 / 6}
    assert means(ranking) == pytest.approx(expected)
    assert [row.name for row in ranking.teams] == ["b", "a", "c"]
    assert [row.position for row in ranking.teams] == [1, 2, 3]
    first = ranking.teams[0]
    assert first.by_quantity == pytest.approx({"dsc": 5 / 3, "time_s": 1})
    assert first.normalized_rank == pytest.approx(8 / 18)
    assert ranking.cases == ("c0", "c1", "c2")
    # Teams in order b, a, c.
    assert ranking.ranks[0].tolist() == [[2, 1, 3], [2, 2, 1], [1, 3, 2]]
    assert ranking.values[1].tolist() == [[14, 10, 16], [20, 30, 40], [15, 20, 90]]


def test_ties_may_share_their_mean():
    ranking = rank_teams([A, B, C], scheme=replace(BOTH, ties="average"))
    # The tie for 2 in c1 becomes 2.5 each, the tie for 1 of the time of c0 1.5 each.
    assert means(ranking) == pytest.approx({"a": 12 / 6, "b": 9 / 6, "c": 15 / 6})


def test_weights_count():
    scheme = BOTH.with_changes(weights={"time_s": 0.5})
    # dsc: a 6, b 5, c 6; time: a 5, b 3, c 9.
    expected = {"a": (6 + 2.5) / 4.5, "b": (5 + 1.5) / 4.5, "c": (6 + 4.5) / 4.5}
    assert means(rank_teams([A, B, C], scheme=scheme)) == pytest.approx(expected)


def test_missing_cases_get_the_last_rank():
    gone = team("gone", dsc=[math.nan, 0.95, math.nan], cases=["c1"])
    ranking = rank_teams([A, B, gone], scheme=SCORE)
    # c0: a 1, b 2, gone 3; c1: a 2, b 2, gone 1; c2: a 2, b 1, gone 3.
    assert means(ranking) == pytest.approx({"a": 5 / 3, "b": 5 / 3, "gone": 7 / 3})
    assert [row.position for row in ranking.teams] == [1, 1, 3]
    assert [row.missing for row in ranking.teams] == [0, 0, 2]
    both_gone = rank_teams([A, replace(gone, name="gone too"), gone], scheme=SCORE)
    # Two are missing in c0 and c2: both are third.
    assert both_gone.teams[1].mean_rank == pytest.approx((3 + 1 + 3) / 3)


def test_cases_without_any_value_are_listed_apart():
    nobody = [math.nan, 0.5]
    ranking = rank_teams([team("a", dsc=nobody), team("b", dsc=nobody)], scheme=SCORE)
    assert ranking.cases == ("c1",) and ranking.unranked == ("c0",)
    assert ranking.teams[0].ci95 is None and ranking.teams[0].first_share is None
    assert ranking.stability is None
    with pytest.raises(ValueError, match="at least one case must have values"):
        rank_teams([team("a", dsc=[math.nan]), team("b", dsc=[math.nan])], scheme=SCORE)


def test_a_quantity_that_no_team_has_in_a_case_does_not_count_there():
    timed = [
        team(n, dsc=[s, s], time_s=[t, math.nan]) for n, s, t in (("a", 0.9, 99), ("b", 0.8, 50))
    ]
    ranking = rank_teams(timed, scheme=BOTH)
    # dsc twice 1 and 2; time once 2 and 1.
    assert means(ranking) == pytest.approx({"a": 4 / 3, "b": 5 / 3})
    assert np.isnan(ranking.ranks[1, 1]).all()
    assert all(row.missing == 0 for row in ranking.teams)


def test_memory_within_the_tolerance_makes_its_area_perfect():
    scheme = ranking_scheme("flare23").with_changes(only=["area_gpu_mib_s"])
    teams = [
        team("slow and small", area_gpu_mib_s=[90_000], max_gpu_mib=[4096]),
        team("small", area_gpu_mib_s=[20_000], max_gpu_mib=[2000]),
        team("large and fast", area_gpu_mib_s=[10_000], max_gpu_mib=[4097]),
    ]
    found = means(rank_teams(teams, scheme=scheme))
    assert found == {"slow and small": 1, "small": 1, "large and fast": 3}


def test_the_best_everywhere_is_first_in_every_resample():
    generator = np.random.default_rng(1)
    base = generator.uniform(0.4, 0.8, 30)
    teams = [
        team("best", dsc=base + 0.1),
        team("x", dsc=base + generator.normal(0, 0.01, 30)),
        team("y", dsc=base + generator.normal(0, 0.01, 30)),
    ]
    ranking = rank_teams(teams, scheme=SCORE)
    best, *others = ranking.teams
    assert (best.name, best.ci95, best.position_ci95, best.first_share) == (
        "best",
        (1, 1),
        (1, 1),
        1,
    )
    assert [row.first_share for row in others] == [0, 0]
    assert all(row.ci95[0] < row.mean_rank < row.ci95[1] for row in others)
    assert {row.position_ci95 for row in others} == {(2, 3)}
    assert 0.3 < ranking.stability <= 1
    assert ranking.tau == {"dsc": 1}


def test_the_interval_is_that_of_a_share():
    # a is first in 40 of 50 cases: mean rank 1.2, standard deviation sqrt(0.16 / 50).
    wins = [1.0] * 40 + [0.0] * 10
    ranking = rank_teams([team("a", dsc=wins), team("b", dsc=[0.5] * 50)], scheme=SCORE)
    first = ranking.teams[0]
    assert first.mean_rank == pytest.approx(1.2)
    half = 1.96 * math.sqrt(0.16 / 50)
    assert first.ci95 == pytest.approx((1.2 - half, 1.2 + half), abs=0.02)
    assert first.first_share == pytest.approx(1, abs=1e-3)


def test_equal_teams_share_everything():
    ranking = rank_teams([team(name, dsc=[0.5, 0.6]) for name in "ba"], scheme=SCORE)
    assert [(row.name, row.position, row.first_share) for row in ranking.teams] == [
        *(("a", 1, 0.5), ("b", 1, 0.5))
    ]
    assert ranking.stability is None and math.isnan(ranking.tau["dsc"])


def test_what_cannot_be_ranked_is_refused():
    with pytest.raises(ValueError, match="at least two, each once, got a"):
        rank_teams([A], scheme=SCORE)
    with pytest.raises(ValueError, match="at least two, each once, got a, a"):
        rank_teams([A, A], scheme=SCORE)


SCORES = st.lists(st.sampled_from([0.1, 0.5, 0.9, math.nan]), min_size=3, max_size=3)
SECONDS = st.lists(st.integers(1, 30).map(float), min_size=3, max_size=3)
TEAMS = st.lists(st.tuples(SCORES, SECONDS), min_size=2, max_size=4)


@settings(max_examples=20, deadline=None)
@given(TEAMS, st.randoms())
def test_the_order_of_teams_and_time_below_the_tolerance_change_nothing(rows, randoms):
    teams = [team(f"t{k}", dsc=dsc, time_s=time) for k, (dsc, time) in enumerate(rows)]
    expected = rank_teams(teams, scheme=BOTH)
    shuffled = teams[:]
    randoms.shuffle(shuffled)
    assert repr(rank_teams(shuffled, scheme=BOTH).teams) == repr(expected.teams)
    # All that is within 15 s stays within, all that is beyond stays beyond and in order.
    moved = [
        replace(
            each,
            values={
                "dsc": each.values["dsc"],
                "time_s": {
                    case: value / 2 if value <= 15 else value + 0.5
                    for case, value in each.values["time_s"].items()
                },
            },
        )
        for each in teams
    ]
    assert repr(rank_teams(moved, scheme=BOTH).teams) == repr(expected.teams)


@settings(max_examples=20, deadline=None)
@given(TEAMS)
def test_ranks_sum_as_they_must_and_monotone_changes_do_nothing(rows):
    teams = [team(f"t{k}", time_s=time) for k, (_, time) in enumerate(rows)]
    scheme = RankingScheme(name="x", quantities=(Quantity(source="time_s"),), ties="average")
    ranking = rank_teams(teams, scheme=scheme)
    assert sum(means(ranking).values()) == pytest.approx(len(teams) * (len(teams) + 1) / 2)
    squared = [team(f"t{k}", time_s=[t * t for t in time]) for k, (_, time) in enumerate(rows)]
    assert means(rank_teams(squared, scheme=scheme)) == means(ranking)
