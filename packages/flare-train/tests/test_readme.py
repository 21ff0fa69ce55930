import re
from pathlib import Path

import pytest

from flare_train.run import read_run_config

README = Path(__file__).parents[1] / "README.md"


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def test_settings_are_complete_and_swift_s(tmp_path):
    (text,) = blocks("toml")
    path = tmp_path / "run.toml"
    path.write_text(text)
    config = read_run_config(path)
    assert config.train.net.features == (24, 48, 96, 192)
    assert config.train.optimizer.momentum == 0.99


@pytest.mark.parametrize("code", blocks("python"))
def test_example_runs(code, capsys):
    exec(compile(code, str(README), "exec"), {})  # noqa: S102  # our own page
    assert capsys.readouterr().out.startswith("[")
