"""Cases prepared by a dask cluster, by the same call."""

import pytest
from joblib import parallel_config

from flare_io.dataset import read_dataset
from flare_train.cases import build_store, training_cases

distributed = pytest.importorskip("distributed")


def content(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_cluster_prepares_the_same_store(phantom_folder, tmp_path, make_run_config):
    source = read_dataset(phantom_folder)
    cases = training_cases(source, labels=phantom_folder / "truthTr")
    preprocessing = make_run_config().preprocessing

    def prepare(folder):
        build_store(cases, preprocessing, folder, table=source.table, jobs=2)

    with (
        distributed.LocalCluster(
            n_workers=1, dashboard_address=None, local_directory=tmp_path / "dask"
        ) as cluster,
        distributed.Client(cluster) as client,
        parallel_config(backend="dask"),
    ):
        prepare(tmp_path / "spread")
        seen = client.run(lambda: "flare_train.cases" in __import__("sys").modules)
    assert any(seen.values()), "the work was not done by the cluster"
    build_store(cases, preprocessing, tmp_path / "alone", table=source.table, jobs=1)
    assert content(tmp_path / "spread") == content(tmp_path / "alone")
