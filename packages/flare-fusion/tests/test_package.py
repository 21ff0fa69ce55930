"""The package as a whole: public names, and what an import loads."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import flare_fusion
from flare_fusion.general import GENERAL_RULES
from flare_fusion.rules import rule_names

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


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


def test_the_readme_prints_what_it_says_and_names_every_rule(tmp_path):
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    said = re.findall(r"^print.*# (.*?)(?::.*)?$", code, re.MULTILINE)
    assert done.stdout.splitlines() == said
    for name in (*rule_names(), *GENERAL_RULES):
        assert f"`{name}`" in README or (name.startswith("s2-") and name.endswith("-tumor"))
    rule = tmp_path / "mine.toml"
    rule.write_text(re.search(r"```toml\n(.*?)```", README, re.DOTALL)[1], encoding="utf-8")
    table = flare_fusion.compile_table(flare_fusion.fusion_rule(rule))
    assert [table[cell] for cell in ((1, 2), (0, 3), (4, 1), (0, 4), (0, 0))] == [1, 3, 4, 4, 0]
    assert len(README.splitlines()) <= 120
