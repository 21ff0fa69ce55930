import subprocess
import sys

import pytest

import flare_train


@pytest.mark.parametrize(
    "statement",
    [
        "import flare_train",
        "import flare_train.config",
        "from flare_train import TrainConfig, DivergedError",
        "import flare_train.cli",
        "from flare_train.cli import _parser; _parser().format_help()",
    ],
)
def test_torch_is_not_loaded(statement):
    heavy = "{'torch', 'matplotlib', 'scipy', 'blosc2'}"
    code = f"{statement}\nimport sys\nsys.exit(bool({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


def test_every_public_name_resolves():
    assert list(flare_train.__all__) == sorted(flare_train.__all__)
    for name in flare_train.__all__:
        assert getattr(flare_train, name).__name__ == name
    assert set(flare_train.__all__) <= set(dir(flare_train))
    assert flare_train.__version__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'fitt'"):
        getattr(flare_train, "fitt")  # noqa: B009  # a misspelled name is the test
