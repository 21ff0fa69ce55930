import pytest

from flare_infer.outcomes import Outcome, iterate_outcomes


def doubled(image, seconds):
    seconds["read"] = 0.5
    if image < 0:
        raise ZeroDivisionError(f"{image} is bad")
    return 2 * image


def test_a_bad_image_costs_one_image_and_keeps_its_seconds():
    outcomes = list(iterate_outcomes(doubled, [1, -3, 4]))
    assert outcomes[0] == Outcome(image=1, labels=2, seconds={"read": 0.5})
    assert outcomes[2] == Outcome(image=4, labels=8, seconds={"read": 0.5})
    bad = outcomes[1]
    assert (bad.image, bad.labels, bad.seconds) == (-3, None, {"read": 0.5})
    assert isinstance(bad.error, ZeroDivisionError)
    assert str(bad.error) == "-3 is bad"


def test_an_image_is_asked_for_when_the_one_before_is_done():
    told = []

    def images():
        for number in range(3):
            told.append(number)
            yield number

    outcomes = iterate_outcomes(doubled, images())
    assert told == []
    assert next(outcomes).labels == 0
    assert told == [0]
    assert [each.labels for each in outcomes] == [2, 4]


def test_no_image_gives_no_outcome():
    assert list(iterate_outcomes(doubled, [])) == []


def test_an_interrupt_passes_through():
    def interrupted(image, seconds):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        next(iterate_outcomes(interrupted, [1]))


def test_progress_is_shown_on_stderr_where_it_is_wanted(capsys):
    list(iterate_outcomes(doubled, [1, 2]))
    assert capsys.readouterr().err == ""
    list(iterate_outcomes(doubled, [1, 2], progress=True))
    out, err = capsys.readouterr()
    assert out == ""
    assert "cases: 100%" in err
    assert "2/2" in err
