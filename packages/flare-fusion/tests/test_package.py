"""The package as a whole: public names, and what an import loads."""

import subprocess
import sys

import pytest

import flare_fusion


def test_public_names_resolve_and_unknown_ones_do_not():
    assert list(flare_fusion.__all__) == sorted(flare_fusion.__all__)
    for name in flare_fusion.__all__:
        assert getattr(flare_fusion, name).__name__ == name
    assert set(flare_fusion.__all__) <= set(dir(flare_fusion))
    with pytest.raises(AttributeError, match="no attribute 'fuze'"):
        flare_fusion.fuze  # noqa: B018  # the access is the test


def test_importing_and_help_load_nothing_heavy():
    code = (
        "import sys, flare_fusion, flare_fusion.cli\n"
        "try:\n    flare_fusion.cli.main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print('MODULES', *sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.partition("MODULES")[2].split()}
    assert not loaded & {"numpy", "scipy", "SimpleITK", "joblib", "torch", "cupy"}
