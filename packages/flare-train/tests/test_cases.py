import numpy as np
import pytest

from flare_io.dataset import read_dataset
from flare_io.errors import GeometryError, LabelError
from flare_io.files import read_label_map, read_volume, write_label_map, write_volume
from flare_io.preparation import prepare
from flare_train.cases import TrainingCase, build_store, training_cases
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
    import dataclasses

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
