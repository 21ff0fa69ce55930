"""Ranking schemes as data: what the years rank, and what no scheme may say."""

import pytest

from flare_metrics.ranking_scheme import (
    Quantity,
    RankingScheme,
    ranking_scheme,
    ranking_scheme_names,
)


def test_the_years_rank_what_was_published():
    sources = {
        name: [quantity.source for quantity in ranking_scheme(name).quantities]
        for name in ranking_scheme_names()
    }
    assert sources == {
        "flare21": ["dsc", "nsd", "time_s", "max_gpu_mib"],
        "flare22": ["dsc", "nsd", "time_s", "area_gpu_mib_s", "area_cpu_percent_s"],
        "flare23": [
            *("organ_dsc", "organ_nsd", "lesion_dsc", "lesion_nsd", "time_s", "area_gpu_mib_s")
        ],
        "flare24-task1": ["lesion_dsc", "lesion_nsd", "time_s", "area_gpu_mib_s"],
    }


def test_tolerances_and_weights_of_the_years():
    for name, seconds in (("flare23", 15), ("flare24-task1", 45)):
        *_, time, memory = ranking_scheme(name).quantities
        assert (time.tolerance, time.tolerance_of) == (seconds, "time_s")
        assert (memory.tolerance, memory.tolerance_of) == (4096, "max_gpu_mib")
        assert ranking_scheme(name).sources[-1] == "max_gpu_mib"
    assert [each.weight for each in ranking_scheme("flare22").quantities] == [1, 1, 1, 0.5, 0.5]
    assert all(each.tolerance is None for each in ranking_scheme("flare22").quantities)


def test_a_scheme_is_changed_one_thing_at_a_time():
    scheme = ranking_scheme("flare23")
    assert scheme.with_changes() is scheme
    changed = scheme.with_changes(
        only=["dsc", "time_s"], weights={"dsc": 3}, tolerances={"time_s": None}, ties="average"
    )
    assert changed == RankingScheme(
        name="flare23, changed",
        quantities=(Quantity(source="dsc", weight=3), Quantity(source="time_s")),
        ties="average",
    )
    with pytest.raises(ValueError, match="'area_gpu_mibs' is not ranked; did you mean area_gpu"):
        scheme.with_changes(weights={"area_gpu_mibs": 2})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"source": "dice"}, "unknown quantity 'dice'"),
        ({"source": "organ_dcs"}, "did you mean organ_dsc"),
        ({"source": "time_s", "weight": 0}, "weight of time_s must be > 0, got 0"),
        ({"source": "time_s", "tolerance": -1}, "tolerance of time_s must be >= 0"),
        ({"source": "dsc", "tolerance": 1}, "of a cost, not of a score"),
        ({"source": "dsc", "tolerance_of": "seconds"}, "unknown quantity 'seconds'"),
    ],
)
def test_impossible_quantities_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Quantity(**arguments)


def test_impossible_schemes_are_refused():
    dsc = Quantity(source="dsc")
    with pytest.raises(ValueError, match="at least one, each once, got \\['dsc', 'dsc'\\]"):
        RankingScheme(name="x", quantities=(dsc, dsc))
    with pytest.raises(ValueError, match="ties must be min or average, got 'max'"):
        RankingScheme(name="x", quantities=(dsc,), ties="max")
    with pytest.raises(ValueError, match="got 'flare32'; did you mean flare23"):
        ranking_scheme("flare32")


def test_a_scheme_of_your_own_is_a_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('ties = "average"\n[[quantities]]\nsource = "dsc"\nweight = 2\n')
    assert ranking_scheme(path) == RankingScheme(
        name="mine", quantities=(Quantity(source="dsc", weight=2),), ties="average"
    )
    for text, message in (
        ("tie = 1", "unknown key 'tie'; did you mean ties"),
        ('[[quantities]]\nsource = "dsc"\nwheight = 1', "did you mean weight"),
        ("[[quantities]]\nweight = 1", "source"),
        ("ties = ", "not a ranking scheme"),
        ("", "at least one"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            ranking_scheme(path)
