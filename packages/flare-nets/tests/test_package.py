from __future__ import annotations

import subprocess
import sys

import pytest

import flare_nets


@pytest.mark.parametrize(
    "statement",
    [
        "import flare_nets",
        "import flare_nets.config",
        "from flare_nets import NetConfig, preset, config_from_plans, WeightsError",
        "import flare_nets.cli",
        "from flare_nets.cli import main; main(['list'])",
    ],
)
def test_torch_is_not_loaded(statement: str) -> None:
    code = f"{statement}\nimport sys\nsys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


def test_every_public_name_resolves() -> None:
    assert list(flare_nets.__all__) == sorted(flare_nets.__all__)
    for name in flare_nets.__all__:
        assert getattr(flare_nets, name).__name__ == name
    assert set(flare_nets.__all__) < set(dir(flare_nets))
    assert flare_nets.__version__


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'buildnet'"):
        flare_nets.buildnet  # noqa: B018  # reading the attribute is the test
