import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flare_fusion.rules import Origin
from flare_train.patch_reader import PatchReader, copy_box
from flare_train.store import StoredCase, read_stored_case, write_stored_case

sizes = st.tuples(*[st.integers(1, 9)] * 3)


@settings(max_examples=80, deadline=None)
@given(sizes, sizes, st.tuples(*[st.integers(-12, 12)] * 3), st.booleans())
def test_box_equals_cutting_from_a_padded_copy(shape, size, start, as_tensor):
    array = np.arange(1, 1 + int(np.prod(shape)), dtype=np.float32).reshape(1, *shape)
    margin = 24
    padded = np.pad(array, [(0, 0)] + [(margin, margin)] * 3)
    window = tuple(
        slice(margin + first, margin + first + n) for first, n in zip(start, size, strict=True)
    )
    target = torch.full((1, *size), -7.0)
    copy_box(target, torch.from_numpy(array) if as_tensor else array, start)
    np.testing.assert_array_equal(target.numpy(), padded[(slice(None), *window)])


def test_half_precision_becomes_the_type_of_the_target():
    target = torch.empty(1, 1, 1, 2)
    copy_box(target, np.array([0.1, 2.0], np.float16).reshape(1, 1, 1, 2), (0, 0, 0))
    assert target.ravel().tolist() == [float(np.float16(0.1)), 2.0]


@pytest.mark.parametrize("start", [(0, 0, 0), (-2, 3, 5), (4, -1, 9)])
def test_file_and_memory_give_the_same(tmp_path, make_case, start):
    case = make_case(1)
    write_stored_case(tmp_path, case)
    mapped = read_stored_case(tmp_path, case.id, in_memory=False)
    memory, file = (PatchReader([each], [start], (8, 9, 12)) for each in (case, mapped))
    assert torch.equal(memory.read("image", torch.float32), file.read("image", torch.float32))
    assert torch.equal(memory.read("labels"), file.read("labels"))


def case_with(labels, origins=None):
    return StoredCase.from_arrays(
        "a",
        np.zeros((1, *labels.shape)),
        labels,
        spacing_mm=(1.0, 1.0, 1.0),
        annotated=frozenset({5}),
        origins=origins,
    )


def test_labels_of_unknown_origin_count_as_ground_truth():
    labels = np.array([[[0, 5, 255, 5]]])
    votes = np.array([[[0, Origin.VOTE, 0, Origin.TIE]]])
    reader = PatchReader([case_with(labels, votes), case_with(labels)], [(0, 0, 0)] * 2, (1, 1, 4))
    origins = reader.read_origins(reader.read("labels"))
    truth = int(Origin.GROUND_TRUTH)
    assert origins.tolist() == [
        [[[0, Origin.VOTE, 0, Origin.TIE]]],
        [[[0, truth, 0, truth]]],
    ]


def test_no_origins_where_no_case_knows():
    labels = np.array([[[0, 5]]])
    reader = PatchReader([case_with(labels)], [(0, 0, 0)], (1, 1, 2))
    assert reader.read_origins(reader.read("labels")) is None
