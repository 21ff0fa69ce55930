import numpy as np
import pytest
import torch

from flare_infer.errors import ModelError
from flare_infer.nnunet_checkpoint import load_nnunet_checkpoint


def test_a_checkpoint_of_v1_is_read_with_its_numpy_scalars(tmp_path):
    content = {
        "epoch": 3,
        "state_dict": {"tu.0.weight": torch.arange(4.0)},
        "plot_stuff": ([np.float64(0.5)], [np.float32(1.0)], [], [1.5]),
        "best_stuff": (None, np.float64(0.7)),
    }
    path = tmp_path / "model_final_checkpoint.model"
    # The form of files that torch wrote before 1.6.
    torch.save(content, path, _use_new_zipfile_serialization=False)
    found = load_nnunet_checkpoint(path, required=("state_dict",))
    assert found["epoch"] == 3
    assert found["best_stuff"] == (None, 0.7)
    assert found["state_dict"]["tu.0.weight"].tolist() == [0.0, 1.0, 2.0, 3.0]


def test_the_keys_that_lack_are_named_with_those_found(tmp_path):
    path = tmp_path / "checkpoint_final.pth"
    torch.save({"state_dict": {}, "epoch": 1}, path)
    with pytest.raises(ModelError, match=r"must hold \['network_weights'\].*'epoch', 'state_dict'"):
        load_nnunet_checkpoint(path, required=("network_weights",))
    torch.save([1, 2], path)
    with pytest.raises(ModelError, match="found list"):
        load_nnunet_checkpoint(path, required=("network_weights",))


class Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_code_in_a_checkpoint_is_refused_and_not_run(tmp_path):
    path, canary = tmp_path / "checkpoint_final.pth", tmp_path / "canary"
    torch.save({"network_weights": {}, "trap": Trap(str(canary))}, path)
    with pytest.raises(ModelError, match="without running code") as caught:
        load_nnunet_checkpoint(path, required=("network_weights",))
    assert caught.value.kind == "unsafe-pickle"
    assert not canary.exists()


def test_a_missing_and_a_cut_file_are_told_from_a_crafted_one(tmp_path):
    path = tmp_path / "checkpoint_final.pth"
    with pytest.raises(ModelError, match="is broken"):
        load_nnunet_checkpoint(path, required=())
    torch.save({"network_weights": {"a": torch.zeros(1000)}}, path)
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(ModelError, match="copy it again") as caught:
        load_nnunet_checkpoint(path, required=())
    assert caught.value.kind == "truncated"
