"""Reading what a team is ranked by, and the command that ranks."""

import csv
import json

import pytest

from flare_metrics.cli import main
from flare_metrics.errors import UnreadableFileError
from flare_metrics.team_results import read_teams

HEADER = "Name,Liver_DSC,LK_DSC,Tumor_DSC,Liver_NSD,LK_NSD,Tumor_NSD,Status,Reason"
COST = "Name,Time,MaxGPU_Mem,AUC_GPU_Time,MaxCPU_Utilization,AUC_CPU_Time,MaxRAM,AUC_RAM_Time"


def scored(folder, rows, cost=None):
    folder.mkdir(parents=True)
    (folder / "cases.csv").write_text("\n".join([HEADER, *rows]) + "\n")
    if cost is not None:
        file = folder / f"{folder.name}_Efficiency.csv"
        file.write_text("\n".join([COST, *cost]) + "\n")
    return folder


ROWS = [
    "a.nii.gz,0.9,0.7,0.5,0.8,0.6,0.4,scored,",
    "b.nii.gz,0.6,,,0.4,,,scored,",
    "c.nii.gz,0,0,,0,0,,no prediction,no prediction of this name",
    "z.nii.gz,,,,,,,no reference,no reference of this name",
]
COSTS = [
    "a_0000.nii.gz,12.5,3000,900,50,500,8000,90000",
    "b_0000.nii.gz,20.0,5000,1200,50,500,8000,90000",
    "c_0000.nii.gz,1.0,100,10,50,500,8000,90000",
    "extra_0000.nii.gz,1.0,100,10,50,500,8000,90000",
]


def test_scores_and_costs_are_those_of_the_tables(tmp_path):
    path = scored(tmp_path / "team", ROWS, COSTS)
    sources = ("organ_dsc", "lesion_nsd", "dsc", "time_s", "max_gpu_mib")
    [team] = read_teams([path], sources=sources)
    assert team.name == "team"
    assert team.cases == ("a", "b", "c")
    assert team.unscored == ("extra",)
    assert team.values["organ_dsc"] == pytest.approx({"a": 0.8, "b": 0.6})
    # Nothing to find in b, and nothing found: perfect, as in the official protocols.
    assert team.values["lesion_nsd"] == {"a": 0.4, "b": 1}
    assert team.values["dsc"] == pytest.approx({"a": 0.7, "b": 0.6})
    # c has no prediction: its time is no time.
    assert team.values["time_s"] == {"a": 12.5, "b": 20}
    assert team.values["max_gpu_mib"] == {"a": 3000, "b": 5000}


def test_official_tables_count_empty_cells_as_missing(tmp_path):
    file = tmp_path / "DSC_NSD_x.csv"
    file.write_text("Name,Liver_DSC,Tumor_DSC\na.nii.gz,0.5,\nb.nii.gz,,1\n")
    (tmp_path / "x_Efficiency.csv").write_text("Name,Time,GPU_Mem\na_0000.nii.gz,3,900\n")
    [team] = read_teams([tmp_path], sources=("organ_dsc", "lesion_dsc", "max_gpu_mib"))
    assert team.values == {
        "organ_dsc": {"a": 0.5},
        "lesion_dsc": {"b": 1},
        "max_gpu_mib": {"a": 900},
    }


def test_tables_of_cost_may_lie_in_one_folder(tmp_path):
    paths = [scored(tmp_path / name, ROWS) for name in "xy"]
    costs = tmp_path / "costs"
    costs.mkdir()
    for name in "xy":
        (costs / f"{name}_Efficiency.csv").write_text("\n".join([COST, *COSTS]) + "\n")
    teams = read_teams(paths, sources=("time_s",), efficiency=costs)
    assert [team.values["time_s"]["a"] for team in teams] == [12.5, 12.5]
    (costs / "y_Efficiency.csv").unlink()
    with pytest.raises(UnreadableFileError, match=r"must hold y_Efficiency.csv.*found x_Eff"):
        read_teams(paths, sources=("time_s",), efficiency=costs)


def test_what_is_not_there_is_named(tmp_path):
    bare = scored(tmp_path / "bare", ROWS)
    with pytest.raises(UnreadableFileError, match=r"bare_Efficiency.csv.*found none; write it by"):
        read_teams([bare], sources=("time_s",))
    empty = scored(tmp_path / "empty", ROWS, ["a_0000.nii.gz,1,,,,,,"])
    with pytest.raises(UnreadableFileError, match="values of AUC_GPU_Time, found empty cells only"):
        read_teams([empty], sources=("area_gpu_mib_s",))
    (empty / "empty_Efficiency.csv").write_text("Name,Time\na_0000.nii.gz,1\n")
    with pytest.raises(UnreadableFileError, match="must have a column MaxRAM, found Time"):
        read_teams([empty], sources=("max_ram_mib",))
    (bare / "cases.csv").write_text("Name,Liver_DSC\na,1\n")
    for source in ("lesion_dsc", "organ_nsd"):
        with pytest.raises(UnreadableFileError, match=f"what {source} is made of, found Liver"):
            read_teams([bare], sources=(source,))


def fast(name_of_case, seconds, mib, area):
    return f"{name_of_case}_0000.nii.gz,{seconds},{mib},{area},,,,"


@pytest.fixture
def teams(tmp_path):
    """Return three teams: accurate, fast, and one that lost a case."""
    good = ["0.9,0.9,0.8,0.9,0.9,0.8", "0.9,0.9,0.9,0.9,0.9,0.9"]
    fair = ["0.8,0.8,0.7,0.8,0.8,0.7", "0.8,0.8,0.8,0.8,0.8,0.8"]
    paths = []
    for name, scores, seconds in (("good", good, 40), ("quick", fair, 10), ("lost", good, 14)):
        rows = [f"c{k}.nii.gz,{row},scored," for k, row in enumerate(scores)]
        if name == "lost":
            rows[1] = "c1.nii.gz,0,0,0,0,0,0,no prediction,none"
        costs = [fast(f"c{k}", seconds, 3000, seconds * 3000) for k in range(2)]
        paths.append(str(scored(tmp_path / name, rows, costs)))
    return paths


def test_the_command_ranks(teams, tmp_path, capsys):
    assert main(["rank", *teams, "-o", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr()
    # Four scores, time, memory. c0: good 1 1 1 1 3 1, quick 3 3 3 3 1 1, lost 1 1 1 1 1 1;
    # c1: good 1 1 1 1 2 1, quick 2 2 2 2 1 1, lost 3 six times.
    with (tmp_path / "out" / "ranking.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    places = [(row["Position"], row["Team"]) for row in rows]
    assert places == [("1", "good"), ("2", "lost"), ("2", "quick")]
    means = {row["Team"]: float(row["Mean_rank"]) for row in rows}
    assert means == pytest.approx({"good": 15 / 12, "quick": 24 / 12, "lost": 24 / 12})
    assert {row["Team"]: row["time_s"] for row in rows} == {
        "good": "2.5",
        "quick": "1.0",
        "lost": "2.0",
    }
    assert "time_s (perfect up to time_s 15)" in printed.out
    assert "ties min; 2 cases" in printed.out
    assert "lost: something is missing in 1 of 2 cases, last rank there" in printed.err
    with (tmp_path / "out" / "case_ranks.csv").open(newline="") as file:
        cells = list(csv.DictReader(file))
    assert len(cells) == 6 * 2 * 3
    assert {"Case": "c1", "Quantity": "time_s", "Team": "lost", "Value": "", "Rank": "3.0"} in cells
    record = json.loads((tmp_path / "out" / "ranking.json").read_text())
    assert record["teams"][0]["name"] == "good"


def test_the_command_takes_other_quantities(teams, capsys):
    options = ["--quantity", "time_s", "--quantity", "dsc", "--tolerance", "time_s=none"]
    assert main(["rank", *teams, "--json", *options, "--weight", "dsc=0.5"]) == 0
    record = json.loads(capsys.readouterr().out)
    quantities = record["scheme"]["quantities"]
    assert [(each["source"], each["weight"], each["tolerance"]) for each in quantities] == [
        *(("time_s", 1, None), ("dsc", 0.5, None))
    ]
    # Time: c0 3 1 2, c1 2 1 3; dsc: c0 1 3 1, c1 1 2 3; each case weighs 1.5.
    means = {row["name"]: row["mean_rank"] for row in record["teams"]}
    assert means == pytest.approx({"good": 6 / 3, "quick": 4.5 / 3, "lost": 7 / 3})
    assert main(["rank", *teams, "--scheme", "flare24-task1", "--ties", "average"]) == 0
    assert "flare24-task1, changed" in capsys.readouterr().out


def test_wrong_use_of_the_command_is_one_line(teams, capsys):
    for arguments, text in (
        (teams[:1], "at least two teams must be given, got 1"),
        ([*teams, "--scheme", "flare32"], "did you mean flare23"),
        ([*teams, "--weight", "dsc=much"], "--weight must be NAME=NUMBER, got 'dsc=much'"),
        ([*teams, "--weight", "dsc=1"], "'dsc' is not ranked"),
        ([*teams, "--tolerance", "time_s"], "--tolerance must be NAME=NUMBER"),
        ([teams[0], teams[0]], "given once"),
    ):
        assert main(["rank", *arguments]) == 2
        error = capsys.readouterr().err
        assert text in error and error.count("\n") == 1
    assert main(["rank", *teams, "--scheme", "flare22"]) == 3
    assert "must have values of AUC_CPU_Time" in capsys.readouterr().err


def test_measured_cases_without_score_and_empty_cases_are_said(tmp_path, capsys):
    nothing = "n.nii.gz,,,,,,,failed,broken"
    paths = [str(scored(tmp_path / name, [*ROWS, nothing], COSTS)) for name in ("x", "y")]
    assert main(["rank", *paths, "--quantity", "dsc", "--quantity", "time_s"]) == 0
    error = capsys.readouterr().err
    assert "no team has a value in: c, n" in error
    assert "x: measured, but not scored: extra" in error
