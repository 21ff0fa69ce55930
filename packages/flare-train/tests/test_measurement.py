import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flare_io.dataset import read_dataset
from flare_io.files import read_label_map, read_volume, write_label_map, write_volume
from flare_io.geometry import Geometry
from flare_io.labels import LabelTable
from flare_io.volume import Volume
from flare_train.errors import TrainingDataError
from flare_train.measurement import distinct_values, pooled_intensities, take_fingerprint
from flare_train.training_case import TrainingCase, training_cases

TABLE = LabelTable.from_names("two", {"liver": 1, "tumor": 2})


def write_case(folder, id, image, labels, *, geometry=None, ignore_label=None):
    geometry = geometry or Geometry((5.0, 1.0, 0.5))
    paths = folder / f"{id}_image.nii.gz", folder / f"{id}_labels.nii.gz"
    write_volume(Volume(image, geometry), paths[0])
    if labels is not None:
        write_label_map(Volume(labels, geometry), paths[1])
    return TrainingCase(
        id=id,
        image=paths[:1],
        label=None if labels is None else paths[1],
        annotated=frozenset() if labels is None else frozenset({1, 2}),
        ignore_label=ignore_label,
    )


def two_cases(folder):
    first = np.full((3, 4, 5), -1000, np.int16)
    labels = np.zeros((3, 4, 5), np.uint8)
    first[0, 0, :4], labels[0, 0, :4] = [10, 20, 30, 40], 1
    second = np.zeros((4, 5, 6), np.int16)
    second[1:3, 2:5, 1:] = 7
    others = np.zeros((4, 5, 6), np.uint8)
    others[1, 2, 1] = 2
    second[1, 2, 1] = 100
    return [write_case(folder, "a", first, labels), write_case(folder, "b", second, others)]


def test_measured_by_hand(tmp_path):
    found = take_fingerprint(two_cases(tmp_path), tmp_path / "kept", table=TABLE)
    # The second case is 0 outside 2 x 3 x 5 of 4 x 5 x 6 voxels.
    assert found.shapes == ((3, 4, 5), (2, 3, 5))
    assert found.spacings_mm == ((5.0, 1.0, 0.5),) * 2
    assert found.relative_size == pytest.approx((1 + 30 / 120) / 2)
    (ct,) = found.intensities
    # Both cases weigh the same: values 10, 20, 30, 40 an eighth each, 100 a half.
    assert ct.mean == pytest.approx(62.5)
    assert ct.std == pytest.approx(np.std([10, 20, 30, 40, 100, 100, 100, 100]))
    assert (ct.low, ct.median, ct.high) == (10, 40, 100)
    assert (ct.minimum, ct.maximum) == (10, 100)


def test_voxels_without_statement_are_no_foreground(tmp_path):
    image = np.array([10, 20, 30, 40] * 2, np.int16).reshape(2, 2, 2)
    labels = np.array([1, 3, 0, 0] * 2, np.uint8).reshape(2, 2, 2)
    case = write_case(tmp_path, "a", image, labels, ignore_label=3)
    (ct,) = take_fingerprint([case], tmp_path / "kept", table=TABLE).intensities
    assert (ct.minimum, ct.maximum) == (10, 10)


def test_axes_are_those_of_the_network(tmp_path):
    # Stored with its first axis along x: canonical order brings it last.
    geometry = Geometry((1.0, 2.0, 3.0), direction=((0, 0, 1), (0, 1, 0), (1, 0, 0)))
    image = np.ones((4, 5, 6), np.int16)
    case = write_case(tmp_path, "a", image, np.ones((4, 5, 6), np.uint8), geometry=geometry)
    canonical = take_fingerprint([case], tmp_path / "kept", table=TABLE)
    stored = take_fingerprint([case], tmp_path / "kept", table=TABLE, axes="as_stored")
    read = read_volume(case.image[0])
    assert stored.shapes == (read.shape,)
    assert canonical.shapes == ((6, 5, 4),)
    assert canonical.spacings_mm == ((3.0, 2.0, 1.0),)


def test_unlabeled_cases_count_for_shapes_only(tmp_path):
    labeled = two_cases(tmp_path)
    unlabeled = write_case(tmp_path, "c", np.full((9, 9, 9), 999, np.int16), None)
    found = take_fingerprint([*labeled, unlabeled], tmp_path / "kept", table=TABLE)
    assert found.shapes[2] == (9, 9, 9)
    assert found.intensities[0].maximum == 100


def test_nothing_labeled_is_named(tmp_path):
    image = np.ones((2, 2, 2), np.int16)
    case = write_case(tmp_path, "a", image, np.zeros((2, 2, 2), np.uint8))
    with pytest.raises(TrainingDataError, match=r"^a: none of the 1 label maps .* check that"):
        take_fingerprint([case], tmp_path / "kept", table=TABLE)


def test_second_call_reads_what_changed(tmp_path):
    cases = two_cases(tmp_path)
    kept = tmp_path / "kept"
    first = take_fingerprint(cases, kept, table=TABLE)
    for id in ("a", "b"):
        path = kept / f"{id}.json"
        row = json.loads(path.read_text())
        path.write_text(json.dumps(row | {"spacing_mm": [9.0, 9.0, 9.0]}))
    # Kept rows are believed, as long as the files are the same.
    assert take_fingerprint(cases, kept, table=TABLE).spacings_mm == ((9.0, 9.0, 9.0),) * 2
    volume = read_label_map(cases[1].label)
    write_label_map(volume.with_array(volume.array // 2), cases[1].label)
    again = take_fingerprint(cases, kept, table=TABLE)
    assert again.spacings_mm == ((9.0, 9.0, 9.0), first.spacings_mm[1])


def test_jobs_change_nothing(phantom_folder, tmp_path):
    dataset = read_dataset(phantom_folder)
    cases = training_cases(dataset, unlabeled=True)
    steps = []
    alone = take_fingerprint(cases, tmp_path / "1", table=dataset.table)
    together = take_fingerprint(
        cases,
        tmp_path / "2",
        table=dataset.table,
        jobs=2,
        progress=lambda *step: steps.append(step[1:]),
    )
    assert alone == together
    assert steps == [(k, 6) for k in range(1, 7)]


def test_channels_must_be_as_many(tmp_path):
    cases = two_cases(tmp_path)
    image = cases[0].image
    cases[0] = TrainingCase(
        id="a", image=image * 2, label=cases[0].label, annotated=frozenset({1, 2})
    )
    with pytest.raises(TrainingDataError, match="b: all cases must have the same channels"):
        take_fingerprint(cases, tmp_path / "kept", table=TABLE)


foreground = st.lists(st.integers(-1000, 1000), min_size=1, max_size=30)


@settings(max_examples=60, deadline=None)
@given(st.lists(foreground, min_size=1, max_size=4))
def test_pooling_equals_repeating_every_case_to_one_size(cases):
    size = int(np.lcm.reduce([len(case) for case in cases]))
    pool = np.concatenate([np.repeat(case, size // len(case)) for case in cases])
    found = pooled_intensities([distinct_values(np.array(case, np.int16)) for case in cases])
    low, median, high = np.percentile(pool, (0.5, 50, 99.5), method="inverted_cdf")
    assert (found.low, found.median, found.high) == (low, median, high)
    assert found.mean == pytest.approx(pool.mean(), abs=1e-6)
    assert found.std == pytest.approx(pool.std(), abs=1e-3)
    assert (found.minimum, found.maximum) == (pool.min(), pool.max())


def test_many_distinct_values_become_order_statistics():
    values = np.random.default_rng(0).normal(80, 40, 40_000).astype(np.float32)
    summary = distinct_values(values)
    assert len(summary["values"]) == 5000
    found = pooled_intensities([summary])
    exact = np.percentile(values, (0.5, 50, 99.5))
    np.testing.assert_allclose((found.low, found.median, found.high), exact, atol=0.5)
    assert found.mean == pytest.approx(values.astype(float).mean())
    assert found.maximum == values.max()
