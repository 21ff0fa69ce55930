"""Two ranks with half a batch each against one process with all of it."""

import subprocess
import sys

import pytest
import torch

# Losses and gradients of every variant, on this rank's share of the batch.
SCRIPT = """
import sys
import torch
import torch.distributed as dist
from flare_train.loss_config import LossConfig
from flare_train.losses import segmentation_loss

rank, world, store, result = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
variants = [
    LossConfig(),
    LossConfig(ignore_label=True, origin_weights={"tie": 0.5}),
    LossConfig(partial="marginal", exclusion_weight=1, ignore_label=True),
    LossConfig(head="sigmoid", partial="masked"),
    LossConfig(head="sigmoid", partial="masked", reduction="sum", dice_mean="all"),
    LossConfig(head="hybrid", partial="masked", ignore_label=True),
]
variants = [
    LossConfig(**{**vars(v), "batch_dice": b}) for v in variants for b in (False, True)
]
if world > 1:
    dist.init_process_group("gloo", init_method="file://" + store, rank=rank, world_size=world)
generator = torch.Generator().manual_seed(0)
shape = (4, 1, 4, 4, 4)
images = torch.randn(shape, generator=generator, dtype=torch.float64)
targets = torch.randint(0, 3, (4, 4, 4, 4), generator=generator)
annotated = torch.tensor([[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 0, 0]]).bool()
origins = torch.randint(0, 8, targets.shape, generator=generator)
mine = slice(rank * 4 // world, (rank + 1) * 4 // world)
records = []
for config in variants:
    known = annotated if config.masks else torch.ones_like(annotated)
    aim = targets * known.gather(1, targets.flatten(1)).reshape(targets.shape)
    if config.ignore_label:
        aim[3], aim[0, 0] = 255, 255
    torch.manual_seed(1)
    channels = config.out_channels((0, 1, 14))
    net = torch.nn.Conv3d(1, channels, 3, padding=1, dtype=torch.float64)
    model = torch.nn.parallel.DistributedDataParallel(net) if world > 1 else net
    loss = segmentation_loss(
        [model(images[mine])],
        aim[mine],
        known[mine],
        config,
        classes=(0, 1, 14),
        origins=origins[mine],
    )
    loss.backward()
    records.append((loss.item(), net.weight.grad, net.bias.grad))
torch.save(records, result)
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    jobs = []
    for world in (1, 2):
        for rank in range(world):
            path = folder / f"{world}-{rank}.pt"
            arguments = [str(rank), str(world), str(folder / "store"), str(path)]
            jobs.append((subprocess.Popen([sys.executable, "-c", SCRIPT, *arguments]), path))
    for process, _ in jobs:
        assert process.wait(timeout=120) == 0
    return [torch.load(path) for _, path in jobs]


def test_both_ranks_see_the_loss_of_the_whole_batch(results):
    alone, first, second = results
    assert len(alone) == 12
    for one, a, b in zip(alone, first, second, strict=True):
        assert a[0] == b[0]
        assert a[0] == pytest.approx(one[0], rel=1e-12)


def test_averaged_gradients_are_those_of_one_process(results):
    alone, first, second = results
    for one, a, b in zip(alone, first, second, strict=True):
        for place in (1, 2):
            assert torch.equal(a[place], b[place])
            assert torch.allclose(a[place], one[place], rtol=1e-10, atol=1e-14)
            assert one[place].abs().max() > 0
