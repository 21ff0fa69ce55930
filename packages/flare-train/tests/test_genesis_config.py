import pytest

from flare_train.genesis_config import GenesisConfig


def test_constants_are_the_published_ones():
    config = GenesisConfig()
    assert config.window_hu == (-1000, 1000)
    assert (config.flip_p, config.flip_rounds) == (0.4, 3)
    assert (config.shuffle_p, config.shuffle_divisor) == (0.5, 10)
    assert (config.curve_p, config.decreasing_p) == (0.9, 0.5)
    assert (config.paint_p, config.inner_p, config.boxes, config.box_p) == (0.9, 0.2, 5, 0.95)
    assert config.loss == "mse"


def test_coverage_is_that_of_ten_thousand_blocks():
    # Blocks of a 64 x 64 x 32 cube have edges of 1 to 6, 6 and 3 voxels, 3.5 * 3.5 * 2 on average.
    times = 10_000 * 3.5 * 3.5 * 2 / (64 * 64 * 32)
    assert GenesisConfig().shuffle_coverage == pytest.approx(1 - 2.718281828**-times, abs=0.005)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"paint_p": 1.5}, r"genesis.paint_p must lie in \[0, 1\], got 1.5"),
        ({"shuffle_coverage": -1}, "genesis.shuffle_coverage must lie"),
        ({"window_hu": (5, 5)}, "genesis.window_hu must hold more than one CT number"),
        ({"window_hu": (5, -5)}, "genesis.window_hu must be"),
        ({"deviation_hu": 0}, "genesis.deviation_hu must be > 0"),
        ({"boxes": 0}, "genesis.boxes must be >= 1"),
        ({"flip_rounds": -1}, "genesis.flip_rounds must be >= 0"),
        ({"shuffle_divisor": 0}, "genesis.shuffle_divisor must be >= 1"),
        ({"shuffle_layers": 0}, "genesis.shuffle_layers must be >= 1"),
        ({"inputs": "hu"}, "genesis.inputs must be 'given' or 'unit', got 'hu'"),
        ({"loss": "l2"}, "genesis.loss must be 'mse' or 'l1', got 'l2'"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        GenesisConfig(**settings)
