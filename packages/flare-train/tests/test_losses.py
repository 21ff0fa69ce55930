import dataclasses
import itertools
import math
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flare_fusion.rules import Origin
from flare_train.loss_config import LossConfig
from flare_train.losses import deep_supervision_weights, segmentation_loss

CLASSES = (0, 3, 7, 14)
S3 = LossConfig(head="sigmoid", partial="masked", partial_labels=(14,))


def random_case(seed, config, *, batch=3, shape=(3, 4, 5), ignored=0.0, classes=CLASSES):
    """Return logits, targets, annotated sets and origins; targets keep to what is annotated."""
    generator = torch.Generator().manual_seed(seed)
    channels = config.out_channels(classes)
    logits = torch.randn(batch, channels, *shape, generator=generator, dtype=torch.float64)
    annotated = torch.rand(batch, len(classes), generator=generator) < 0.6
    annotated[:, 0] = True
    if not config.masks:
        annotated[:] = True
    targets = torch.randint(0, len(classes), (batch, *shape), generator=generator)
    targets *= annotated.gather(1, targets.flatten(1)).reshape(targets.shape)
    if ignored:
        targets[torch.rand(targets.shape, generator=generator) < ignored] = 255
    origins = torch.randint(0, len(Origin), targets.shape, generator=generator)
    return logits, targets.to(torch.uint8), annotated, origins.to(torch.uint8)


def total(logits, targets, annotated, config, *, origins=None, classes=CLASSES):
    return segmentation_loss([logits], targets, annotated, config, classes=classes, origins=origins)


# The oracle: loops over samples and classes in NumPy, probabilities written out.


def reference(logits, targets, annotated, config, *, origins=None, classes=CLASSES):
    x, t, known = logits.numpy(), targets.numpy(), annotated.numpy().copy()
    weight = np.ones(t.shape)
    for name, value in (config.origin_weights or {}).items():
        weight[origins.numpy() == Origin[name.upper()]] = value
    weight[t == 255] = 0
    for b, c in np.ndindex(known.shape):
        label = classes[c]
        partial = config.partial_labels is None or label in config.partial_labels
        if not config.masks or not partial or c == 0:
            known[b, c] = True
        elif config.presence == "patch" and not (t[b] == c).any():
            known[b, c] = False
    indices = range(len(classes))
    if config.head == "softmax":
        return config.scale * softmax_reference(x, t, weight, known, list(indices), config)
    if config.head == "sigmoid":
        first = 0 if config.background_channel else 1
        shown = list(indices)[first:]
        return config.scale * sigmoid_reference(x, t, weight, known, shown, config)
    organs = [i for i in indices if classes[i] not in config.overlay]
    over = [i for i in indices if classes[i] in config.overlay]
    left = weight * ~np.isin(t, over)
    loss = softmax_reference(x[:, organs], t, left, known, organs, config)
    loss += config.overlay_weight * sigmoid_reference(x[:, over], t, weight, known, over, config)
    return config.scale * loss


def softmax_reference(x, t, weight, known, indices, config):
    p = np.exp(x) / np.exp(x).sum(1, keepdims=True)
    entropy = 0.0
    for b, z, y, i in np.ndindex(t.shape):
        merged = sum(
            p[b, place, z, y, i]
            for place, c in enumerate(indices)
            if not known[b, c] or c == indices[0]
        )
        here = t[b, z, y, i]
        decided = here in indices[1:] and known[b, here]
        value = p[b, indices.index(here), z, y, i] if decided else merged
        entropy -= weight[b, z, y, i] * math.log(value)
    entropy /= max(weight.sum(), 1e-300)
    dice = dice_reference(p[:, 1:], t, weight, known, indices[1:], config)
    loss = config.cross_entropy_weight * entropy + config.dice_weight * dice
    pairs = [
        (b, place, c)
        for b in range(len(t))
        for place, c in enumerate(indices)
        if place and not known[b, c]
    ]
    overlaps = []
    for b, place, _ in pairs:
        foreground = sum(((t[b] == c) & known[b, c]).astype(float) for c in indices[1:])
        q, w = p[b, place], weight[b]
        size = (w * q).sum() + (w * foreground).sum()
        dice = 2 * (w * q * foreground).sum() / (size + config.smooth)
        log = (w * foreground * np.log(1 + q)).sum() / w.sum()
        overlaps.append(config.dice_weight * dice + config.cross_entropy_weight * log)
    return loss + config.exclusion_weight * (np.mean(overlaps) if overlaps else 0.0)


def sigmoid_reference(x, t, weight, known, indices, config):
    q = 1 / (1 + np.exp(-x))
    losses = []
    for b in range(len(t)):
        for place, c in enumerate(indices):
            if known[b, c] and weight[b].sum() > 0:
                truth = t[b] == c
                log = np.where(truth, np.log(q[b, place]), np.log(1 - q[b, place]))
                losses.append(-(weight[b] * log).sum() / weight[b].sum())
    count = len(t) if config.reduction == "sum" else max(len(losses), 1)
    dice = dice_reference(q, t, weight, known, indices, config)
    return config.cross_entropy_weight * sum(losses) / count + config.dice_weight * dice


def dice_reference(p, t, weight, known, indices, config):
    groups = [list(range(len(t)))] if config.batch_dice else [[b] for b in range(len(t))]
    scores, every = [], 0
    for group in groups:
        for place, c in enumerate(indices):
            every += 1
            both = size = 0.0
            active = [b for b in group if known[b, c] and weight[b].sum() > 0]
            for b in active:
                truth = (t[b] == c).astype(float)
                both += (weight[b] * p[b, place] * truth).sum()
                size += (weight[b] * (p[b, place] + truth)).sum()
            if active:
                scores.append((2 * both + config.smooth) / (size + config.smooth))
    if config.dice_mean == "all":
        scores += [1.0] * (every - len(scores))
    return -sum(scores) / (len(groups) if config.reduction == "sum" else max(len(scores), 1))


VARIANTS = {
    "plain": LossConfig(),
    "naive": LossConfig(partial="naive"),
    "marginal": LossConfig(partial="marginal"),
    "marginal, tumor only": LossConfig(partial="marginal", partial_labels=(14,)),
    "exclusion": LossConfig(partial="marginal", exclusion_weight=1.5),
    "sigmoid": LossConfig(head="sigmoid"),
    "S3": S3,
    "S3 as released": dataclasses.replace(
        S3, presence="patch", dice_mean="all", background_channel=True, batch_dice=True
    ),
    "MultiTalent": LossConfig(head="sigmoid", partial="masked", batch_dice=True, reduction="sum"),
    "hybrid": LossConfig(head="hybrid", partial="masked", overlay_weight=2),
    "hybrid, two over": LossConfig(
        head="hybrid", partial="masked", overlay=(3, 14), exclusion_weight=1
    ),
    "hybrid, naive": LossConfig(head="hybrid", partial="naive"),
}


@pytest.mark.parametrize("ignored", [0.0, 0.3])
@pytest.mark.parametrize("changes", [{}, {"batch_dice": True}, {"reduction": "sum", "scale": 0.5}])
@pytest.mark.parametrize("name", VARIANTS)
def test_equals_loops_in_float64(name, changes, ignored):
    config = dataclasses.replace(VARIANTS[name], ignore_label=ignored > 0, **changes)
    logits, targets, annotated, _ = random_case(len(name), config, ignored=ignored)
    got = total(logits, targets, annotated, config)
    wanted = reference(logits, targets, annotated, config)
    assert got.item() == pytest.approx(wanted, abs=1e-10)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 10**6),
    st.sampled_from(sorted(VARIANTS)),
    st.booleans(),
    st.sampled_from(["active", "all"]),
    st.sampled_from([(1.0, 1.0), (0.0, 2.0), (0.5, 0.0)]),
    st.sampled_from([1e-5, 1.0]),
)
def test_every_combination_equals_the_loops(seed, name, batch_dice, dice_mean, weights, smooth):
    config = dataclasses.replace(
        VARIANTS[name],
        batch_dice=batch_dice,
        dice_mean=dice_mean,
        dice_weight=weights[0],
        cross_entropy_weight=weights[1],
        smooth=smooth,
        origin_weights={"tie": 0.0, "a_only": 0.5, "ground_truth": 2.0},
    )
    logits, targets, annotated, origins = random_case(seed, config, batch=2, shape=(2, 3, 3))
    got = total(logits, targets, annotated, config, origins=origins)
    wanted = reference(logits, targets, annotated, config, origins=origins)
    assert got.item() == pytest.approx(wanted, abs=1e-10)


@pytest.mark.parametrize("batch_dice", [False, True])
@pytest.mark.parametrize("name", VARIANTS)
def test_gradients(name, batch_dice):
    config = dataclasses.replace(VARIANTS[name], batch_dice=batch_dice, ignore_label=True)
    logits, targets, annotated, _ = random_case(7, config, batch=2, shape=(2, 2, 2), ignored=0.2)
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: total(x, targets, annotated, config), (logits,))


def test_dice_and_entropy_by_hand():
    # Two voxels, probabilities of class 1: 0.75 and 0.25; only the first is class 1.
    # Dice (2 * 0.75) / (1 + 1) = 0.75, cross entropy -ln 0.75
    three_to_one = float(np.log(3))
    logits = torch.tensor([[0.0, three_to_one], [three_to_one, 0.0]], dtype=torch.float64)
    got = total(
        logits.reshape(1, 2, 1, 1, 2),
        torch.tensor([1, 0]).reshape(1, 1, 1, 2),
        torch.ones(1, 2, dtype=torch.bool),
        LossConfig(smooth=1e-12),
        classes=(0, 5),
    )
    assert got.item() == pytest.approx(-0.75 - math.log(0.75))


def test_marginal_by_hand():
    # Even logits of three classes, the third unannotated: background or third has 2/3, class 1 1/3.
    # Entropy (-ln 2/3 - ln 1/3) / 2; Dice of class 1 alone: 2 * 1/3 / (2/3 + 1) = 0.4
    config = LossConfig(partial="marginal", smooth=1e-12)
    got = total(
        torch.zeros(1, 3, 1, 1, 2, dtype=torch.float64),
        torch.tensor([0, 1]).reshape(1, 1, 1, 2),
        torch.tensor([[True, True, False]]),
        config,
        classes=(0, 1, 2),
    )
    assert got.item() == pytest.approx((math.log(1.5) + math.log(3)) / 2 - 0.4)


def test_exclusion_by_hand():
    # As above; class 2 is predicted with 1/3 in both voxels, the annotated organ lies in one:
    # Dice 2 * 1/3 / (2/3 + 1) = 0.4, log(1 + 1/3) in one of two voxels
    config = LossConfig(partial="marginal", smooth=1e-12)
    case = (
        torch.zeros(1, 3, 1, 1, 2, dtype=torch.float64),
        torch.tensor([0, 1]).reshape(1, 1, 1, 2),
        torch.tensor([[True, True, False]]),
    )
    without = total(*case, config, classes=(0, 1, 2))
    with_it = total(*case, dataclasses.replace(config, exclusion_weight=2), classes=(0, 1, 2))
    assert (with_it - without).item() == pytest.approx(2 * (0.4 + math.log(4 / 3) / 2))


def test_masked_by_hand():
    # One voxel, q = 1/2 in both channels. Sample 0 annotates both, sample 1 only the first.
    # Per pair: ln 2 - Dice. Dice where the class is there: 2 * 0.5 / 1.5 = 2/3, else 0.
    config = dataclasses.replace(S3, smooth=1e-12)
    got = total(
        torch.zeros(2, 2, 1, 1, 1, dtype=torch.float64),
        torch.tensor([2, 1]).reshape(2, 1, 1, 1),
        torch.tensor([[True, True, True], [True, True, False]]),
        config,
        classes=(0, 1, 14),
    )
    # Pairs: (0, class 1) 0, (0, tumor) 2/3, (1, class 1) 2/3
    assert got.item() == pytest.approx(math.log(2) - (0 + 2 / 3 + 2 / 3) / 3)


@pytest.mark.parametrize("batch_dice", [False, True])
@pytest.mark.parametrize("head", ["sigmoid", "hybrid"])
@pytest.mark.parametrize("dice_mean", ["active", "all"])
def test_masked_class_has_a_gradient_of_exactly_zero(head, batch_dice, dice_mean):
    config = LossConfig(
        head=head,
        partial="masked",
        partial_labels=(14,),
        batch_dice=batch_dice,
        dice_mean=dice_mean,
    )
    logits, targets, annotated, _ = random_case(3, config)
    annotated[:, 3] = torch.tensor([True, False, True])
    targets[1][targets[1] == 3] = 0
    logits.requires_grad_()
    total(logits, targets, annotated, config).backward()
    assert (logits.grad[1, -1] == 0).all()
    assert (logits.grad[0, -1] != 0).any()
    assert (logits.grad[1, :-1] != 0).any()


def gradient(logits, targets, annotated, config, classes):
    logits = logits.clone().requires_grad_()
    total(logits, targets, annotated, config, classes=classes).backward()
    return logits.grad


@pytest.mark.parametrize("batch_dice", [False, True])
def test_a_masked_class_more_changes_the_others_only_with_dice_mean_all(batch_dice):
    config = LossConfig(head="sigmoid", partial="masked", batch_dice=batch_dice)
    logits, targets, _, _ = random_case(5, config, batch=2)
    targets[targets == 3] = 0
    annotated = torch.tensor([[True, True, True, False]] * 2)
    for dice_mean, same in (("active", True), ("all", False)):
        loss = dataclasses.replace(config, dice_mean=dice_mean)
        four = gradient(logits, targets, annotated, loss, CLASSES)
        three = gradient(logits[:, :2], targets, annotated[:, :3], loss, CLASSES[:3])
        assert torch.allclose(four[:, :2], three, rtol=1e-12) is same


@pytest.mark.parametrize("changes", [{}, {"batch_dice": True}, {"dice_mean": "all"}])
@pytest.mark.parametrize(
    ("masked", "plain"),
    [
        (LossConfig(partial="marginal"), LossConfig()),
        (LossConfig(partial="marginal", exclusion_weight=2), LossConfig()),
        (LossConfig(head="sigmoid", partial="masked"), LossConfig(head="sigmoid")),
        (S3, LossConfig(head="sigmoid")),
        (LossConfig(head="hybrid", partial="masked"), LossConfig(head="hybrid")),
    ],
)
def test_all_classes_annotated_is_the_plain_loss(masked, plain, changes):
    plain = dataclasses.replace(plain, **changes)
    masked = dataclasses.replace(masked, **changes)
    logits, targets, annotated, _ = random_case(9, plain)
    everything = torch.ones_like(annotated)
    assert torch.equal(
        total(logits, targets, everything, masked), total(logits, targets, everything, plain)
    )


def test_all_annotated_masked_is_the_mean_of_binary_entropy_and_dice():
    logits, targets, annotated, _ = random_case(10, S3)
    everything = torch.ones_like(annotated)
    truth = torch.stack([targets == c for c in (1, 2, 3)], 1).double()
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, truth)
    q = logits.sigmoid()
    dice = (2 * (q * truth).sum((2, 3, 4)) + 1e-5) / ((q + truth).sum((2, 3, 4)) + 1e-5)
    got = total(logits, targets, everything, S3)
    assert got.item() == pytest.approx((entropy - dice.mean()).item(), abs=1e-12)


def test_sum_is_the_mean_times_the_classes_where_all_are_annotated():
    config = LossConfig(head="sigmoid")
    logits, targets, annotated, _ = random_case(11, config)
    mean = total(logits, targets, annotated, config)
    summed = total(logits, targets, annotated, dataclasses.replace(config, reduction="sum"))
    assert summed.item() == pytest.approx(3 * mean.item())


def test_sum_gives_a_class_the_same_gradient_however_many_are_annotated():
    config = LossConfig(head="sigmoid", partial="masked", reduction="sum")
    logits, targets, annotated, _ = random_case(12, config, batch=1)
    targets[targets > 1] = 0
    few, all_of_them = annotated.clone(), torch.ones_like(annotated)
    few[0] = torch.tensor([True, True, False, False])
    first = gradient(logits, targets, few, config, CLASSES)[:, 0]
    assert torch.equal(first, gradient(logits, targets, all_of_them, config, CLASSES)[:, 0])
    mean = dataclasses.replace(config, reduction="mean")
    assert not torch.allclose(first, gradient(logits, targets, all_of_them, mean, CLASSES)[:, 0])


def test_presence_in_the_patch_takes_away_the_negative_signal():
    # The case annotates tumors, its patch shows none: "none here" (paper) or no word (code).
    logits, targets, annotated, _ = random_case(13, S3)
    annotated[:] = True
    targets[targets == 3] = 0
    by_case = gradient(logits, targets, annotated, S3, CLASSES)
    by_patch = gradient(
        logits, targets, annotated, dataclasses.replace(S3, presence="patch"), CLASSES
    )
    assert (by_case[:, 2] > 0).all()
    assert (by_patch[:, 2] == 0).all()


@pytest.mark.parametrize("batch_dice", [False, True])
@pytest.mark.parametrize("name", [name for name, config in VARIANTS.items() if config.masks])
def test_nothing_active_is_finite(name, batch_dice):
    config = dataclasses.replace(VARIANTS[name], batch_dice=batch_dice, ignore_label=True)
    logits, targets, annotated, _ = random_case(14, config)
    annotated[:, 1:] = False
    for code in (0, 255):
        targets.fill_(code)
        grad = gradient(logits, targets, annotated, config, CLASSES)
        assert torch.isfinite(grad).all()
        assert math.isfinite(total(logits, targets, annotated, config).item())


def test_ignored_voxels_do_not_matter():
    for config in VARIANTS.values():
        config = dataclasses.replace(config, ignore_label=True, presence="case")
        logits, targets, annotated, _ = random_case(15, config, ignored=0.4)
        before = total(logits, targets, annotated, config)
        moved = logits.clone()
        moved.permute(0, 2, 3, 4, 1)[targets == 255] += 3.0
        moved.permute(0, 2, 3, 4, 1)[targets == 255] *= -2.0
        assert total(moved, targets, annotated, config).item() == pytest.approx(before.item())


def test_a_weight_of_zero_is_ignoring_and_of_one_is_nothing():
    config = LossConfig()
    logits, targets, annotated, origins = random_case(16, config)
    zero = dataclasses.replace(config, origin_weights={"tie": 0.0})
    one = dataclasses.replace(config, origin_weights={"tie": 1.0})
    left_out = targets.masked_fill(origins == Origin.TIE, 255)
    ignoring = dataclasses.replace(config, ignore_label=True)
    assert total(logits, targets, annotated, zero, origins=origins).item() == pytest.approx(
        total(logits, left_out, annotated, ignoring).item()
    )
    assert total(logits, targets, annotated, one, origins=origins).item() == pytest.approx(
        total(logits, targets, annotated, config).item()
    )


def test_tumor_voxels_say_nothing_to_the_organs_of_the_hybrid_head():
    config = LossConfig(head="hybrid")
    logits, targets, annotated, _ = random_case(17, config, batch=1, shape=(1, 1, 4))
    targets[:] = torch.tensor([0, 1, 3, 3])
    grad = gradient(logits, targets, annotated, config, CLASSES)
    assert (grad[0, :3, 0, 0, 2:] == 0).all()
    assert (grad[0, 3, 0, 0] != 0).all()


def test_half_precision_is_computed_in_float32():
    for config in VARIANTS.values():
        logits, targets, annotated, _ = random_case(18, config)
        low = logits.to(torch.bfloat16)
        got = total(low, targets, annotated, config)
        assert got.dtype == torch.float32
        wanted = total(low.double(), targets, annotated, config).item()
        assert got.item() == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("name", VARIANTS)
def test_order_of_samples_does_not_matter(name):
    config = VARIANTS[name]
    logits, targets, annotated, _ = random_case(19, config)
    turned = total(logits.flip(0), targets.flip(0), annotated.flip(0), config)
    assert turned.item() == pytest.approx(total(logits, targets, annotated, config).item())


@pytest.mark.parametrize("outputs", range(2, 7))
def test_weights_halve_and_sum_to_one(outputs):
    weights = deep_supervision_weights(outputs)
    assert sum(weights) == pytest.approx(1)
    assert weights[-1] == 0
    assert all(a == pytest.approx(2 * b) for a, b in itertools.pairwise(weights[:-1]))


def test_weights_of_one_and_of_none():
    assert deep_supervision_weights(1) == (1.0,)
    with pytest.raises(ValueError, match="outputs must be >= 1, got 0"):
        deep_supervision_weights(0)


def three_levels(config):
    fine, targets, annotated, origins = random_case(20, config, shape=(4, 4, 4))
    coarse = random_case(21, config, shape=(2, 2, 2))[0]
    coarsest = random_case(22, config, shape=(1, 1, 1))[0]
    return [fine, coarse, coarsest], targets, annotated, origins


@pytest.mark.parametrize("name", VARIANTS)
def test_deep_supervision_adds_the_levels(name):
    config = dataclasses.replace(VARIANTS[name], origin_weights={"vote": 0.5}, presence="case")
    levels, targets, annotated, origins = three_levels(config)
    levels[2].requires_grad_()
    got = segmentation_loss(levels, targets, annotated, config, classes=CLASSES, origins=origins)
    # nearest-exact at factor 2 reads index floor((i + 0.5) * 2) = 1, 3
    every = slice(1, None, 2)
    small = (slice(None), every, every, every)
    wanted = 2 / 3 * total(levels[0], targets, annotated, config, origins=origins)
    wanted += total(levels[1], targets[small], annotated, config, origins=origins[small]) / 3
    assert got.item() == pytest.approx(wanted.item())
    assert not got.requires_grad


def test_without_deep_supervision_the_finest_counts_alone():
    config = LossConfig(deep_supervision=False)
    levels, targets, annotated, _ = three_levels(config)
    got = segmentation_loss(levels, targets, annotated, config, classes=CLASSES)
    assert torch.equal(got, total(levels[0], targets, annotated, config))


def test_classes_that_may_not_be_missing_are_refused():
    logits, targets, annotated, _ = random_case(23, LossConfig())
    annotated[1, 2] = False
    with pytest.raises(ValueError, match=re.escape("does not annotate the classes [7]")):
        total(logits, targets, annotated, LossConfig())


@pytest.mark.parametrize("value", [4, 255])
def test_targets_that_are_no_class(value):
    logits, targets, annotated, _ = random_case(24, LossConfig())
    targets[0, 0, 0, 0] = value
    with pytest.raises(ValueError, match=f"must be below 4, .* got {value}") as error:
        total(logits, targets, annotated, LossConfig())
    assert ("loss.ignore_label" in str(error.value)) is (value == 255)
    allowed = LossConfig(ignore_label=True)
    if value == 255:
        assert math.isfinite(total(logits, targets, annotated, allowed))
    else:
        with pytest.raises(ValueError, match="must be below 4"):
            total(logits, targets, annotated, allowed)


def test_without_origins_all_is_ground_truth():
    config = LossConfig(origin_weights={"tie": 0.0, "ground_truth": 2.0}, dice_weight=0.0)
    logits, targets, annotated, _ = random_case(25, config)
    truth = torch.full_like(targets, Origin.GROUND_TRUTH)
    got = total(logits, targets, annotated, config)
    assert got == total(logits, targets, annotated, config, origins=truth)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"logits": (1, 3, 2, 2, 2)}, r"levels must be \(b, 4, z, y, x\)"),
        ({"logits": (4, 2, 2, 2)}, "levels must be"),
        ({"targets": (1, 2, 2, 3)}, r"targets must have shape \(1, 2, 2, 2\)"),
        ({"annotated": (1, 3)}, r"annotated must have shape \(1, 4\)"),
    ],
    ids=["channels", "axes", "targets", "annotated"],
)
def test_wrong_shapes(change, message):
    shapes = {"logits": (1, 4, 2, 2, 2), "targets": (1, 2, 2, 2), "annotated": (1, 4)} | change
    with pytest.raises(ValueError, match=message):
        total(*(torch.zeros(shape) for shape in shapes.values()), LossConfig())
