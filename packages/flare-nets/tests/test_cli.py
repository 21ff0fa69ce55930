from __future__ import annotations

import json

import pytest

from flare_nets import cli
from flare_nets.cli import main
from flare_nets.config import NetConfig
from flare_nets.presets import preset, preset_names


def test_list_has_one_line_for_every_preset(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(preset_names())


def test_list_as_json_holds_the_configs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--json"]) == 0
    records = json.loads(capsys.readouterr().out)
    assert NetConfig.from_dict(records["swift"]["config"]) == preset("swift").config


def test_cost_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", "swift", "--patch", "32", "128", "192"]) == 0
    out = capsys.readouterr().out
    assert "3.150 M" in out
    assert "139.1 GMAC" in out
    assert "32 x 128 x 192 voxels" in out


def test_cost_of_layers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", "unit", "--layers"]) == 0
    assert "encoder.0.0.conv" in capsys.readouterr().out


def test_cost_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", "unit", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["preset"], record["patch"]) == ("unit", [16, 24, 24])
    assert "layers" not in record
    assert main(["cost", "unit", "--json", "--layers"]) == 0
    layers = json.loads(capsys.readouterr().out)["layers"]
    assert sum(layer["macs"] for layer in layers) == record["macs"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["cost", "swifd"], "flare-nets: no preset is named 'swifd'; did you mean 'swift'?\n"),
        (["cost", "swift", "--patch", "32", "130", "192"], "nearest valid sizes: y 128 or 136\n"),
    ],
)
def test_usage_errors_are_one_line(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == 2
    err = capsys.readouterr().err
    assert err.endswith(message)
    assert err.count("\n") == 1
    assert main([*argv, "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["kind"] == "usage"


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (
            KeyError("x"),
            1,
            "flare-nets: bug: KeyError: 'x'; run again with --debug and report it\n",
        ),
        (MemoryError(), 5, "flare-nets: MemoryError\n"),
        (KeyboardInterrupt(), 130, "flare-nets: KeyboardInterrupt\n"),
    ],
)
def test_other_errors_have_their_exit_code(
    error: BaseException,
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(name: str) -> None:
        raise error

    monkeypatch.setattr(cli, "preset", fail)
    assert main(["cost", "swift"]) == code
    assert capsys.readouterr().err == message
    assert main(["cost", "swift", "--debug"]) == code
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([option])
    assert stop.value.code == 0
    assert "flare-nets" in capsys.readouterr().out
