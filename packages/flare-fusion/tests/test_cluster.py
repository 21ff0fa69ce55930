"""Cases spread over a dask cluster by the same call."""

import pytest
from joblib import parallel_config

from flare_fusion.case_scores import case_scores
from flare_fusion.dataset import fuse_dataset
from flare_io.phantom import write_phantom_dataset

distributed = pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantoms") / "data"
    write_phantom_dataset(folder, preset="unit", cases=5, seed=2, test_cases=0)
    return folder


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            local_directory=tmp_path_factory.mktemp("dask"),
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def test_a_cluster_gives_what_one_process_gives(phantoms, tmp_path, client):
    alone = fuse_dataset(phantoms, tmp_path / "alone", jobs=1)
    with parallel_config(backend="dask"):
        spread = fuse_dataset(phantoms, tmp_path / "spread")
    assert [row.case for row in spread.cases] == [row.case for row in alone.cases]
    assert not spread.failed
    for case, path in alone.label_maps.items():
        assert spread.label_maps[case].read_bytes() == path.read_bytes()
    seen = client.run(lambda: "flare_fusion.case_fusion" in __import__("sys").modules)
    assert any(seen.values()), "the work was not done by the cluster"


def test_a_fault_on_the_cluster_costs_one_case(phantoms, tmp_path, client):
    empty = tmp_path / "A"
    empty.mkdir()
    kept = sorted((phantoms / "pseudoA").iterdir())[0]
    (empty / kept.name).write_bytes(kept.read_bytes())
    with parallel_config(backend="dask"):
        result = fuse_dataset(phantoms, tmp_path / "out", sources={"A": empty})
        figures = case_scores(phantoms, by="agreement")
    assert len(result.fused) == 1
    assert {row.error["rule"] for row in result.failed} == {
        f"source A has no label map of case {row.case}" for row in result.failed
    }
    assert [each.error for each in figures] == [None] * 5
