import dataclasses
import shutil

import numpy as np
import pytest

from flare_io.dataset import read_dataset
from flare_io.errors import GeometryError, LabelError
from flare_io.files import read_label_map, read_volume, write_label_map, write_volume
from flare_io.labels import LabelTable
from flare_io.preparation import prepare
from flare_train.cases import TrainingCase, build_store, content_key, training_cases
from flare_train.errors import TrainingDataError
from flare_train.store import read_stored_case, stored_key


@pytest.fixture(scope="module")
def dataset(phantom_folder):
    return read_dataset(phantom_folder)


@pytest.fixture(scope="module")
def preprocessing(make_run_config):
    return make_run_config().preprocessing


def test_own_labels_bring_their_k(dataset):
    cases = training_cases(dataset)
    by_id = {case.id: case for case in dataset.train}
    assert [case.id for case in cases] == [case.id for case in dataset.train if case.label]
    assert all(case.annotated == by_id[case.id].annotated for case in cases)


def test_other_labels_add_what_they_complete(dataset, phantom_folder):
    truth = phantom_folder / "truthTr"
    full = training_cases(dataset, labels=truth)
    assert len(full) == len(dataset.train)
    assert all(case.annotated == frozenset(dataset.table.ids) for case in full)
    organs = training_cases(dataset, labels=truth, completed={1, 2, 3, 11})
    k = {case.id: case.annotated or frozenset() for case in dataset.train}
    assert all(case.annotated == {1, 2, 3, 11} | k[case.id] for case in organs)


def test_no_labels_at_all(dataset, tmp_path):
    with pytest.raises(TrainingDataError, match="no label map of any training case"):
        training_cases(dataset, labels=tmp_path)


def test_store_holds_what_prepare_returns(dataset, preprocessing, tmp_path):
    (case, *_) = training_cases(dataset)
    steps = []
    ids = build_store(
        [case],
        preprocessing,
        tmp_path,
        table=dataset.table,
        progress=lambda *step: steps.append(step),
    )
    assert ids == (case.id,)
    assert steps == [(case.id, 1, 1)]
    stored = read_stored_case(tmp_path, case.id)
    wanted = prepare(read_volume(case.image[0]), preprocessing, labels=read_label_map(case.label))
    np.testing.assert_array_equal(stored.image, wanted.array.astype(np.float16))
    np.testing.assert_array_equal(stored.labels, wanted.labels)
    assert stored.annotated == case.annotated
    assert stored.spacing_mm == preprocessing.spacing_mm


def test_second_call_prepares_only_what_changed(dataset, preprocessing, tmp_path, monkeypatch):
    cases = training_cases(dataset)[:2]
    build_store(cases, preprocessing, tmp_path, table=dataset.table)
    keys = [stored_key(tmp_path, case.id) for case in cases]
    (tmp_path / f"{cases[0].id}.json").unlink()
    import flare_train.cases as module

    prepared = []

    def counting(*given, **options):
        prepared.append(given)
        return prepare(*given, **options)

    monkeypatch.setattr(module, "prepare", counting)
    build_store(cases, preprocessing, tmp_path, table=dataset.table)
    assert len(prepared) == 1
    assert [stored_key(tmp_path, case.id) for case in cases] == keys


def test_jobs_change_nothing(dataset, preprocessing, tmp_path):
    cases = training_cases(dataset)[:2]
    build_store(cases, preprocessing, tmp_path / "1", table=dataset.table)
    build_store(cases, preprocessing, tmp_path / "2", table=dataset.table, jobs=2)
    for path in (tmp_path / "1").iterdir():
        assert path.read_bytes() == (tmp_path / "2" / path.name).read_bytes()


def changed_label(case, folder, change):
    volume = read_label_map(case.label)
    path = folder / "changed.nii.gz"
    write_label_map(change(volume), path)
    return TrainingCase(id=case.id, image=case.image, label=path, annotated=case.annotated)


def test_label_outside_the_table_is_named(dataset, preprocessing, tmp_path):
    case = changed_label(
        training_cases(dataset)[0], tmp_path, lambda v: v.with_array(v.array + np.uint8(90))
    )
    with pytest.raises(LabelError, match=r"changed\.nii\.gz"):
        build_store([case], preprocessing, tmp_path / "store", table=dataset.table)


def test_grids_that_differ_are_named(dataset, preprocessing, tmp_path):
    def move(volume):
        geometry = dataclasses.replace(volume.geometry, spacing_mm=(18.0, 14.0, 15.0))
        return dataclasses.replace(volume, geometry=geometry)

    case = changed_label(training_cases(dataset)[0], tmp_path, move)
    with pytest.raises(GeometryError, match="grid"):
        build_store([case], preprocessing, tmp_path / "store", table=dataset.table)


def test_nan_is_named(dataset, preprocessing, tmp_path):
    case = training_cases(dataset)[0]
    volume = read_volume(case.image[0])
    broken = np.array(volume.array, np.float32)
    broken[0, 0, 0] = np.nan
    path = tmp_path / "broken.nii.gz"
    write_volume(volume.with_array(broken), path)
    bad = TrainingCase(id=case.id, image=(path,), label=case.label, annotated=case.annotated)
    with pytest.raises((TrainingDataError, OSError), match=r"NaN|finite"):
        build_store([bad], preprocessing, tmp_path / "store", table=dataset.table)


def test_unlabeled_cases_come_when_asked_for(dataset, preprocessing, tmp_path):
    cases = training_cases(dataset, unlabeled=True)
    assert [case.id for case in cases] == [case.id for case in dataset.train]
    (case, *_) = [case for case in cases if case.label is None]
    assert (case.annotated, case.origins) == (frozenset(), None)
    build_store([case], preprocessing, tmp_path, table=dataset.table)
    stored = read_stored_case(tmp_path, case.id)
    assert (stored.annotated, stored.present, stored.labels.any()) == (frozenset(), set(), False)


def test_other_labels_for_some_leave_the_rest_unlabeled(dataset, phantom_folder, tmp_path):
    ids = [case.id for case in dataset.train]
    shutil.copy(phantom_folder / "truthTr" / f"{ids[2]}.nii.gz", tmp_path)
    (one,) = training_cases(dataset, labels=tmp_path)
    assert (one.id, one.label) == (ids[2], tmp_path / f"{ids[2]}.nii.gz")
    everything = training_cases(dataset, labels=tmp_path, unlabeled=True)
    assert [case.id for case in everything if case.label] == [ids[2]]
    assert len(everything) == len(ids)


def test_only_some_cases(dataset, phantom_folder):
    ids = [case.id for case in dataset.train]
    wanted = [ids[4], ids[1]]
    cases = training_cases(dataset, labels=phantom_folder / "truthTr", only=wanted)
    assert [case.id for case in cases] == [ids[1], ids[4]]


def test_only_unknown_or_unlabeled_cases_are_named(dataset, tmp_path):
    (first, *_) = dataset.train
    with pytest.raises(TrainingDataError, match=rf"^{first.id}x: is no training .* {first.id}\?"):
        training_cases(dataset, only=[f"{first.id}x"])
    with pytest.raises(TrainingDataError, match=rf"^{first.id}: this case was asked for"):
        training_cases(dataset, labels=tmp_path, only=[first.id])


def test_nobody_states_k(dataset):
    silent = dataclasses.replace(
        dataset, cases=tuple(dataclasses.replace(case, annotated=None) for case in dataset.cases)
    )
    with pytest.raises(TrainingDataError, match=r"nobody states which classes .* add K"):
        training_cases(silent)


def test_origins_go_with_their_labels(dataset, phantom_folder, preprocessing, tmp_path):
    truth, provenance = phantom_folder / "truthTr", tmp_path / "provenanceTr"
    provenance.mkdir()
    (case, *_) = dataset.train
    labels = read_label_map(truth / f"{case.id}.nii.gz")
    codes = np.where(labels.array == 0, 0, labels.array % 7 + 1).astype(np.uint8)
    write_label_map(labels.with_array(codes), provenance / f"{case.id}.nii.gz")
    (chosen,) = training_cases(dataset, labels=truth, origins=provenance, only=[case.id])
    build_store([chosen], preprocessing, tmp_path / "store", table=dataset.table)
    stored = read_stored_case(tmp_path / "store", case.id)
    # Codes that are a function of the label, moved by nearest neighbor: that function still holds
    # but at borders, where labels go to the largest share.
    agree = stored.origins == np.where(stored.labels == 0, 0, stored.labels % 7 + 1)
    assert agree.mean() > 0.9
    assert set(np.unique(stored.origins)) <= set(np.unique(codes))
    with pytest.raises(TrainingDataError, match=r"provenanceTr.*is missing; fuse again"):
        training_cases(dataset, labels=truth, origins=provenance)


def test_origins_without_resampling_are_the_file(dataset, phantom_folder, preprocessing, tmp_path):
    (case, *_) = dataset.train
    truth = phantom_folder / "truthTr" / f"{case.id}.nii.gz"
    given = TrainingCase(
        id=case.id, image=case.image, label=truth, annotated=frozenset({1}), origins=truth
    )
    plain = dataclasses.replace(preprocessing, spacing_mm=None)
    build_store([given], plain, tmp_path, table=dataset.table)
    stored = read_stored_case(tmp_path, case.id)
    np.testing.assert_array_equal(stored.origins, stored.labels)


def test_ignore_label_is_stored_as_255(dataset, preprocessing, tmp_path):
    case = training_cases(dataset)[0]
    ignored = max(dataset.table.ids) + 1

    def mark(volume):
        array = volume.array.copy()
        array[:3] = ignored
        return volume.with_array(array)

    marked = changed_label(case, tmp_path, mark)
    with pytest.raises(LabelError, match=rf"found {ignored}"):
        build_store([marked], preprocessing, tmp_path / "store", table=dataset.table)
    marked = dataclasses.replace(marked, ignore_label=ignored)
    plain = dataclasses.replace(preprocessing, spacing_mm=None)
    build_store([marked], plain, tmp_path / "store", table=dataset.table)
    stored = read_stored_case(tmp_path / "store", case.id)
    assert (stored.labels == 255).sum() == 3 * stored.labels[0].size
    assert len(stored.stated)
    assert ignored not in stored.present


def test_bad_case_costs_one_case(dataset, preprocessing, tmp_path):
    cases = list(training_cases(dataset)[:3])
    cases[0] = changed_label(cases[0], tmp_path, lambda v: v.with_array(v.array + np.uint8(90)))
    with pytest.raises(LabelError):
        build_store(cases, preprocessing, tmp_path / "store", table=dataset.table)
    found = [stored_key(tmp_path / "store", case.id) is not None for case in cases]
    assert found == [False, True, True]


def test_case_given_twice_and_label_255_are_refused(dataset, preprocessing, tmp_path):
    case = training_cases(dataset)[0]
    with pytest.raises(TrainingDataError, match=f"{case.id}: this case was given twice"):
        build_store([case, case], preprocessing, tmp_path, table=dataset.table)
    table = LabelTable.from_names("wide", {"all": 255})
    with pytest.raises(TrainingDataError, match="wide: label ids must be below 255, found 255"):
        build_store([case], preprocessing, tmp_path, table=table)


def test_too_little_memory_is_told_before_anything_is_read(dataset, preprocessing, tmp_path):
    cases = training_cases(dataset)[:2]
    with pytest.raises(MemoryError, match=r"needs about .* GiB of memory"):
        build_store(cases, preprocessing, tmp_path, table=dataset.table, memory_bytes=10**6)
    assert list(tmp_path.iterdir()) == []


def test_key_follows_files_k_and_settings(dataset, phantom_folder):
    case = training_cases(dataset)[0]
    other = phantom_folder / "truthTr" / f"{case.id}.nii.gz"
    variants = [
        case,
        dataclasses.replace(case, annotated=frozenset({1, 2, 3, 4})),
        dataclasses.replace(case, label=other),
        dataclasses.replace(case, label=None),
        dataclasses.replace(case, origins=case.label),
        dataclasses.replace(case, ignore_label=99),
    ]
    keys = {content_key(variant, ["settings"]) for variant in variants}
    assert len(keys | {content_key(case, ["others"])}) == 7
