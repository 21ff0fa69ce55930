import json
import logging

import pytest

from flare_train.cli import main


def test_help_lists_the_commands(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert all(word in text for word in ("fit", "resume", "demo"))


@pytest.mark.parametrize(
    "words",
    [[], ["fit"], ["fit", "x"], ["demo"], ["demo", "-o", "x", "--scale", "huge"], ["train"]],
)
def test_wrong_usage_exits_with_2(words, capsys):
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2
    assert "usage: flare-train" in capsys.readouterr().err


def fit_words(phantom_folder, run_file, output, *more):
    labels = str(phantom_folder / "truthTr")
    words = ["fit", str(phantom_folder), "-c", str(run_file), "-o", str(output)]
    short = ["--set", "train.epochs=1", "--set", "train.iterations_per_epoch=2"]
    return [*words, "--labels", labels, *short, *more]


def test_fit_then_resume(phantom_folder, run_file, tmp_path, capsys):
    assert main(fit_words(phantom_folder, run_file, tmp_path, "--device", "cpu", "--json")) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"model": str(tmp_path / "model")}
    assert "epoch 1/1: loss" in captured.err
    assert main(["resume", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"model {tmp_path / 'model'}\n"


def test_complete_names_what_the_labels_show(phantom_folder, run_file, tmp_path, capsys):
    words = fit_words(phantom_folder, run_file, tmp_path, "--complete", "1,2,3,11")
    assert main([*words, "--set", "train.loss.partial=refuse"]) == 3
    assert "does not annotate the classes [14]" in capsys.readouterr().err
    assert main([*words, "--set", "train.loss.partial=naive"]) == 0


def test_errors_are_one_line_and_a_code(tmp_path, run_file, phantom_folder, capsys):
    output = str(tmp_path / "run")
    assert main(["resume", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("flare-train: ")
    assert error.count("\n") == 1
    words = ["fit", str(tmp_path / "nowhere"), "-c", str(run_file), "-o", output]
    assert main(words) == 3
    assert "nowhere" in capsys.readouterr().err
    words = ["fit", str(phantom_folder), "-c", str(run_file), "-o", output, "--set", "oops"]
    assert main(words) == 2
    assert "--set must be NAME=VALUE, got 'oops'" in capsys.readouterr().err


def test_logging_is_left_as_it_was(tmp_path):
    logger = logging.getLogger("flare_train")
    before = (logger.level, list(logger.handlers))
    main(["resume", str(tmp_path)])
    assert (logger.level, list(logger.handlers)) == before
