"""``flare-metrics measure``: one command, or a folder of cases."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from flare_metrics.cli import main
from flare_metrics.efficiency import read_measurement

COPY = (
    "import shutil, sys; i, o, c = sys.argv[1:]; "
    "shutil.copy(f'{i}/{c}_0000.nii.gz', f'{o}/{c}.nii.gz')"
)
ENTRY = [sys.executable, "-c", COPY, "{input}", "{output}", "{case}"]


def measure(*arguments):
    return main(["measure", "--gpu", "none", *map(str, arguments)])


def python(code):
    return ["--", sys.executable, "-c", code]


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for case in ("a", "b"):
        (folder / f"{case}_0000.nii.gz").write_bytes(b"image")
    return folder


def test_one_command_prints_to_stderr_and_writes_json(tmp_path, capfd):
    path = tmp_path / "m.json"
    code = "import time; print('mine'); time.sleep(0.3)"
    assert measure("-o", path, *python(code)) == 0
    printed = capfd.readouterr()
    assert printed.out == "mine\n"
    assert "processes, memory" in printed.err
    assert "FLARE: Time 0." in printed.err
    assert "note: no GPU was watched: none was asked for" in printed.err
    measurement = read_measurement(path)
    assert measurement.exit_code == 0
    assert measurement.official.max_ram_mib > 0
    assert measurement.gpu_mib is None


def test_a_folder_gets_the_curves_too(tmp_path, capfd):
    assert measure("-o", tmp_path / "new", *python("pass")) == 0
    names = {path.name for path in (tmp_path / "new").iterdir()}
    assert names == {"measurement.json", "measurement.svg"}


@pytest.mark.parametrize(
    ("code", "expected"), [("raise SystemExit(7)", 7), ("import os; os.kill(os.getpid(), 9)", 137)]
)
def test_the_exit_code_is_passed_on(tmp_path, capfd, code, expected):
    path = tmp_path / "m.json"
    assert measure("-o", path, *python(code)) == expected
    assert read_measurement(path).time_s > 0


def test_options_after_the_dashes_belong_to_the_command(capfd):
    assert measure("--", sys.executable, "-c", "import sys; print(sys.argv)", "-o", "--", "x") == 0
    assert capfd.readouterr().out == "['-c', '-o', '--', 'x']\n"


def test_json_on_request(capfd):
    assert measure("--json", "--interval", "0.02", *python("import time; time.sleep(0.1)")) == 0
    record = json.loads(capfd.readouterr().out)
    assert record["interval_s"] == 0.02
    assert record["device"] is None


def test_programs_that_cannot_be_started(tmp_path, capfd):
    assert measure("--", "no-such-program") == 127
    assert "flare-metrics: no-such-program: No such file" in capfd.readouterr().err
    (tmp_path / "text").write_text("")
    assert measure("--", tmp_path / "text") == 126


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "measure needs a command after --"),
        (["--again", "--", "true"], 2, "--again goes with --cases"),
        (["--container", "x"], 2, "--container goes with --cases"),
        (["--timeout-s", "3", "--", "true"], 2, "--timeout-s goes with --cases"),
        (["--interval", "0", "--", "true"], 2, "interval_s must be > 0 and finite, got 0.0"),
        (["--cases", "{i}", "--", "true"], 2, "-o/--output must name a folder"),
        (["--cases", "{i}", "-o", "{o}"], 2, "either a command after -- or --container IMAGE"),
        (["--cases", "{i}", "-o", "{o}", "--", "true"], 2, "command must hold {input} and"),
        (["--cases", "{o}", "-o", "{o}", "--", "{input}{output}"], 3, "No such file"),
    ],
)
def test_an_error_is_one_line_with_its_exit_code(tmp_path, images, capfd, arguments, code, message):
    places = {"{i}": str(images), "{o}": str(tmp_path / "o")}
    assert measure(*(places.get(text, text) for text in arguments)) == code
    error = capfd.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_cases_end_in_a_table(tmp_path, images, capfd):
    out = tmp_path / "myteam"
    assert measure("--cases", images, "-o", out, "--", *ENTRY) == 0
    printed = capfd.readouterr()
    assert "max GPU" in printed.out
    assert "note: no GPU was watched: none was asked for" in printed.out
    assert "case 2/2 b: measured" in printed.err
    assert (out / "myteam_Efficiency.csv").exists()
    assert measure("--cases", images, "-o", out, "--team", "x", "--json", "--", *ENTRY) == 0
    assert json.loads(capfd.readouterr().out)["counts"] == {"measured": 2}
    assert (out / "x_Efficiency.csv").exists()


def test_some_failed_cases_exit_4_and_only_failed_ones_3(tmp_path, images, capfd):
    some = [sys.executable, "-c", f"import sys; sys.argv[3] == 'a' and sys.exit(8); {COPY}"]
    folders = ["{input}", "{output}", "{case}"]
    assert measure("--cases", images, "-o", tmp_path / "o", "--", *some, *folders) == 4
    assert "flare-metrics: a: failed: exit code 8" in capfd.readouterr().err
    none = [sys.executable, "-c", "raise SystemExit(1)", *folders]
    assert measure("--cases", images, "-o", tmp_path / "p", "--", *none) == 3


def test_the_name_of_a_container_is_the_team(tmp_path, images, capfd, monkeypatch):
    given = {}

    def fake(cases, output, *, program, options, progress):
        given.update(program=program, options=options)
        return ()

    monkeypatch.setattr("flare_metrics.efficiency.cases.measure_cases", fake)
    arguments = ["--cases", images, "-o", tmp_path / "o", "--memory", "8G", "--timeout-s", "60"]
    assert measure(*arguments, "--container", "hub.io:5000/lab/team1:v2") == 0
    assert given["options"].team == "team1"
    assert given["options"].timeout_s == 60
    assert (given["program"].memory, given["program"].gpu) == ("8G", None)


def wait_for(path):
    for _ in range(1000):
        if path.exists():
            return
        time.sleep(0.01)
    raise AssertionError(f"{path} does not come")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=str)
def test_an_interrupted_command_leaves_its_measurement(tmp_path, number):
    out, ready = tmp_path / "m.json", tmp_path / "ready"
    code = f"import time; open({str(ready)!r}, 'w').close(); time.sleep(60)"
    start = "import sys; from flare_metrics.cli import main; raise SystemExit(main(sys.argv[1:]))"
    process = subprocess.Popen(
        [sys.executable, "-c", start, "measure", "-o", str(out), *python(code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    wait_for(ready)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert read_measurement(out).exit_code == -number
