import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flare_train.stages.graph import Stage, in_order, stage_keys, wanted_for


def stage(name, *inputs, kind="fuse", **values):
    return Stage(name=name, kind=kind, settings=values, inputs=inputs)


CHAIN = (stage("data"), stage("store", "data"), stage("net", "store"), stage("other", "data"))


def test_order_follows_inputs():
    names = [each.name for each in in_order(CHAIN[::-1])]
    assert names.index("data") < names.index("store") < names.index("net")
    assert set(names) == {"data", "store", "net", "other"}


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ((stage("a"), stage("a")), "'a' is named twice"),
        ((stage("fused"), stage("b", "fusde")), "'b' reads 'fusde'.*did you mean 'fused'"),
        ((stage("a", "b"), stage("b", "a")), "ring: a, b"),
    ],
    ids=["twice", "unknown", "ring"],
)
def test_what_is_no_graph(stages, message):
    with pytest.raises(ValueError, match=message):
        in_order(stages)


def test_key_depends_on_settings_and_on_everything_before():
    before = stage_keys(CHAIN)
    changed = (stage("data"), stage("store", "data", spacing=2), *CHAIN[2:])
    after = stage_keys(changed)
    assert before["data"] == after["data"]
    assert before["other"] == after["other"]
    assert before["store"] != after["store"]
    assert before["net"] != after["net"]


def test_key_of_outside_files_takes_the_place_of_their_path():
    def keys(path, content):
        data = stage("data", kind="dataset", path=path)
        return stage_keys([data, stage("store", "data")], contents={"data": content})

    assert keys("/a", "1") == keys("/b", "1")
    assert keys("/a", "1")["store"] != keys("/a", "2")["store"]


@given(
    st.dictionaries(st.text(max_size=3), st.integers() | st.lists(st.integers()), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers() | st.lists(st.integers()), max_size=3),
)
@settings(max_examples=40)
def test_keys_are_equal_exactly_if_settings_are(first, second):
    keys = [stage_keys([stage("a", table=each)])["a"] for each in (first, second)]
    assert (keys[0] == keys[1]) == (first == second)


def test_wanted_stages_bring_their_inputs():
    assert [each.name for each in wanted_for(CHAIN, ["net"])] == ["data", "store", "net"]
    with pytest.raises(ValueError, match="there is no stage 'nett'; stages are data"):
        wanted_for(CHAIN, ["nett"])
