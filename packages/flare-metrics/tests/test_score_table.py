"""Reading scores back: our tables, official ones, and every way to be damaged."""

import json
import math

import numpy as np
import pytest

from flare_metrics.case_result import CaseResult
from flare_metrics.errors import UnreadableFileError
from flare_metrics.folder import FolderScore
from flare_metrics.protocols import protocol
from flare_metrics.score_table import distinct_names, read_scores
from flare_metrics.scores import CaseScore, LabelScore
from flare_metrics.summary import write_results


def written(folder, *, distances=False):
    rules = protocol("sound")
    results = []
    for number, (case, status) in enumerate(
        [("a", "scored"), ("b", "no prediction"), ("c", "failed"), ("x", "no reference")]
    ):
        scores = tuple(
            LabelScore(
                id=label.id,
                name=label.name,
                kind=label.kind,
                presence="both",
                dsc=math.nan if label.id == 2 else (label.id - number) / 100 + 0.1,
                nsd=0.5,
                hd95_mm=math.inf if distances else math.nan,
            )
            for label in rules.labels
        )
        score = CaseScore("sound", scores) if number < 2 else None
        results.append(CaseResult(case=case, status=status, score=score, file=f"{case}.nii.gz"))
    write_results(FolderScore(protocol=rules, cases=tuple(results)), folder)
    return folder


def test_what_was_written_is_read(tmp_path):
    table = read_scores(written(tmp_path / "mine", distances=True))
    assert table.name == "mine"
    assert table.cases == ("a", "b", "c")
    assert table.strangers == ("x",)
    assert table.scored.tolist() == [True, False, False]
    assert table.has_status
    assert table.labels[:2] == ("Liver", "RK") and table.lesions == ("Tumor",)
    assert table.organs == table.labels[:-1]
    assert table.column("dsc", "Liver") == pytest.approx([0.11, 0.1, math.nan], nan_ok=True)
    assert np.isnan(table.column("dsc", "RK")).all()
    assert table.column("hd95_mm", "LK")[0] == math.inf
    assert np.isnan(table.column("assd_mm", "LK")).all()
    assert np.isnan(table.column("dsc", "portal vein")).all()
    assert table.rules["protocol"] == "sound"
    assert table.rules["tolerances"]["Duodenum"] == 7
    assert table.rules["settings"]["tie"] == "relative"


def test_the_mean_of_a_case_leaves_out_what_is_not_scored(tmp_path):
    table = read_scores(written(tmp_path / "mine"))
    organs = [label / 100 + 0.1 for label in range(1, 14) if label != 2]
    means = table.case_means("dsc", table.organs)
    assert means[0] == pytest.approx(np.mean(organs))
    assert math.isnan(means[2])
    assert np.isnan(table.case_means("dsc", ())).all()


OFFICIAL = (
    "Name,Liver_DSC,Tumor_DSC,Liver_NSD,Tumor_NSD\n1.nii.gz,0.9,1,0.8,1\n2.nii.gz,0.5,0,0.4,0\n"
)


def test_official_tables_are_read_from_file_or_folder(tmp_path):
    file = tmp_path / "DSC_NSD_blackbean.csv"
    file.write_bytes(b"\xef\xbb\xbf" + OFFICIAL.encode())
    for path in (file, tmp_path):
        table = read_scores(path)
        assert table.name == "blackbean"
        assert table.cases == ("1", "2")
        assert table.lesions == ("Tumor",)
        assert table.values["nsd"].tolist() == [[0.8, 1], [0.4, 0]]
        assert table.rules is None and not table.has_status
        assert table.scored.all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "one column Name, found nothing"),
        ("Case,Liver_DSC\na,1\n", "one column Name, found Case, Liver_DSC"),
        ("Name,Liver_DSC,Liver_DSC\na,1,1\n", "found Liver_DSC repeated"),
        ("Name,Liver_DSC\n", "must hold cases, found none"),
        ("Name,Volume\na,1\n", "must have columns such as Liver_DSC"),
        ("Name,Liver_DSC\na,1\na.nii.gz,1\n", "row 3 must name a case of its own"),
        ("Name,Liver_DSC\n,1\n", "row 2 must name a case of its own, found ''"),
        ("Name,Liver_DSC,Liver_NSD\na,1\n", "row 2 must have 3 cells, found 2; the file may be"),
        ("Name,Liver_DSC\na,good\n", "Liver_DSC of a must be a number or empty, found 'good'"),
        ("Name,Liver_DSC\na,92.3\n", r"must be in \[0, 1\], not percent, found 92.3"),
        ("Name,Liver_HD95_area_mm\na,-1\n", "must be >= 0, found -1"),
        ('Name,Liver_DSC\na,"1\n', "must be a table of comma-separated values"),
    ],
)
def test_damaged_tables_are_named(tmp_path, text, message):
    file = tmp_path / "scores.csv"
    file.write_text(text)
    with pytest.raises(UnreadableFileError, match=message):
        read_scores(file)


def test_other_bytes_are_no_table(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"Name,\xff\n")
    with pytest.raises(UnreadableFileError, match="comma-separated"):
        read_scores(tmp_path / "a.csv")
    with pytest.raises(FileNotFoundError):
        read_scores(tmp_path / "gone.csv")


def test_a_folder_needs_one_table(tmp_path):
    with pytest.raises(UnreadableFileError, match=r"cases.csv or one table .* found neither"):
        read_scores(tmp_path)
    for team in "ab":
        (tmp_path / f"DSC_NSD_{team}.csv").write_text(OFFICIAL)
    with pytest.raises(UnreadableFileError, match=r"found DSC_NSD_a.csv, DSC_NSD_b.csv; name"):
        read_scores(tmp_path)


def test_a_damaged_summary_is_named(tmp_path):
    folder = written(tmp_path / "mine")
    for text in ("{", "[]", json.dumps({"protocol": "sound"})):
        (folder / "summary.json").write_text(text)
        with pytest.raises(UnreadableFileError, match=r"summary.json: must be the summary"):
            read_scores(folder)
    (folder / "summary.json").unlink()
    assert read_scores(folder).rules is None


def test_methods_of_one_name_go_by_their_paths(tmp_path):
    folders = [written(tmp_path / name) for name in ("one/scores", "two/scores", "three")]
    tables = [read_scores(folder) for folder in folders]
    assert [table.name for table in distinct_names(tables)] == [
        *(str(folders[0]), str(folders[1]), "three")
    ]
    with pytest.raises(ValueError, match="must be given once"):
        distinct_names([tables[0], read_scores(folders[0] / ".." / "scores")])
