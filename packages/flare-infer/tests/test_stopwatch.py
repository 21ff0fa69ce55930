import pytest

from flare_infer import stopwatch
from flare_infer.stopwatch import Stopwatch


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(stopwatch.time, "perf_counter", lambda: now[0])

    def wait(seconds):
        now[0] += seconds

    return wait


def test_an_inner_step_counts_for_itself_alone(clock):
    watch = Stopwatch({})
    clock(5)
    with watch.step("a"):
        clock(1)
        with watch.step("b"):
            clock(10)
        clock(2)
    clock(5)
    with watch.step("a"):
        clock(4)
    assert watch.spent == {"a": 7.0, "b": 10.0}


def test_making_items_counts_and_using_them_does_not(clock):
    watch = Stopwatch({})

    def source():
        for k in range(3):
            clock(2)
            yield k

    def twice(items):
        for k in items:
            clock(1)
            yield k

    found = []
    for k in watch.over("outer", twice(watch.over("inner", source()))):
        clock(100)
        found.append(k)
    assert found == [0, 1, 2]
    assert watch.spent == {"outer": 3.0, "inner": 6.0}


def test_a_step_that_fails_is_counted(clock):
    watch = Stopwatch({"a": 1.0})

    def broken():
        clock(2)
        raise ValueError("broken")
        yield

    with pytest.raises(ValueError, match="broken"):
        list(watch.over("a", broken()))
    with watch.step("b"):
        clock(1)
    assert watch.spent == {"a": 3.0, "b": 1.0}
