import numpy as np
import pytest
import torch

from flare_infer.channels import read_channels
from flare_io.geometry import Geometry
from flare_io.policy import ReadPolicy
from flare_io.volume import Volume

GRID = Geometry((2.0, 1.0, 1.0))


def channels(image, geometry=None):
    return read_channels(image, geometry, ReadPolicy())


class Foreign:
    """An array of another library: DLPack and nothing else."""

    def __init__(self, tensor):
        self._tensor = tensor

    def __dlpack__(self, **options):
        return self._tensor.__dlpack__(**options)

    def __dlpack_device__(self):
        return self._tensor.__dlpack_device__()


@pytest.mark.parametrize("wrap", [lambda tensor: tensor, Foreign])
def test_arrays_come_through_dlpack_without_a_copy(wrap):
    tensor = torch.arange(24, dtype=torch.int16).reshape(2, 3, 4)
    (channel,) = channels(wrap(tensor), GRID)
    assert channel.geometry == GRID
    tensor[1, 2, 3] = 99
    assert channel.array[1, 2, 3] == 99
    assert channel.array.dtype == np.int16


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_arrays_come_from_a_gpu():
    tensor = torch.arange(24, dtype=torch.int16, device="cuda").reshape(2, 3, 4)
    (channel,) = channels(tensor, GRID)
    assert np.array_equal(channel.array, np.arange(24).reshape(2, 3, 4))


def test_volumes_are_taken_as_they_are():
    volume = Volume(np.zeros((2, 3, 4)), GRID)
    assert channels(volume) == [volume]
    assert channels((volume, volume)) == [volume, volume]


def test_a_geometry_goes_with_an_array_and_only_there():
    array = np.zeros((2, 3, 4))
    with pytest.raises(ValueError, match="geometry must be given with an array"):
        channels(torch.from_numpy(array))
    with pytest.raises(ValueError, match="goes with an array only"):
        channels(Volume(array, GRID), GRID)
    with pytest.raises(ValueError, match="at least one channel"):
        channels([])
