"""The tables of a scoring, cell by cell."""

import csv
import io
import math

from flare_metrics.case_result import CaseResult
from flare_metrics.detection import DetectionScore
from flare_metrics.folder import FolderScore
from flare_metrics.protocols import Label, Protocol
from flare_metrics.scores import CaseScore, LabelScore
from flare_metrics.tables import case_table, csv_text, label_table

NAN = math.nan
RULES = Protocol(
    name="mine",
    labels=(
        Label(id=1, name="liver", tolerance_mm=5, column="Liver"),
        Label(id=2, name="tumor", tolerance_mm=2, column="Tumor", kind="lesion"),
    ),
)


def folder(*cases):
    return FolderScore(protocol=RULES, cases=cases)


def label_score(place, presence, dsc, **more):
    label = RULES.labels[place]
    reason = "absent in both" if math.isnan(dsc) else ""
    named = {"id": label.id, "name": label.name, "kind": label.kind, "reason": reason}
    return LabelScore(presence=presence, dsc=dsc, nsd=dsc / 2, **named, **more)


def case(name, *scores, status="scored", **more):
    score = CaseScore("mine", scores) if scores else None
    return CaseResult(case=name, file=f"{name}.nii.gz", status=status, score=score, **more)


HITS = DetectionScore(
    true_positives=2, false_positives=1, false_negatives=0, segmentation_quality=0.75
)
RESULT = folder(
    case("a", label_score(0, "both", 0.9), label_score(1, "both", 0.5, detection=HITS)),
    case("b", label_score(0, "reference only", 0.0), label_score(1, "neither", NAN)),
    case("f", status="failed", error={"rule": "broken, badly"}),
)


def test_cases_have_official_columns_first_and_their_fate_last():
    rows = case_table(RESULT)
    assert rows[0] == [
        *("Name", "Liver_DSC", "Tumor_DSC", "Liver_NSD", "Tumor_NSD", "Status", "Reason")
    ]
    assert rows[1] == ["a.nii.gz", "0.9", "0.5", "0.45", "0.25", "scored", ""]
    assert rows[2] == ["b.nii.gz", "0.0", "", "0.0", "", "scored", ""]
    assert rows[3] == ["f.nii.gz", *[""] * 4, "failed", "broken, badly"]
    assert csv_text(rows[-1:]) == 'f.nii.gz,,,,,failed,"broken, badly"\n'


def test_distances_name_their_definition_where_computed():
    near = label_score(0, "both", 0.5, hd95_mm=1.25, assd_mm=0.5)
    far = label_score(1, "reference only", 0.0, hd95_mm=math.inf, assd_mm=math.inf)
    result = folder(case("a", near, far), case("b", near, label_score(1, "neither", NAN)))
    header, row, other = case_table(result)
    assert header[5:9] == [
        *("Liver_HD95_area_mm", "Tumor_HD95_area_mm", "Liver_ASSD_area_mm", "Tumor_ASSD_area_mm")
    ]
    assert row[5:9] == ["1.25", "inf", "0.5", "inf"]
    assert other[5:9] == ["1.25", "", "0.5", ""]
    header, *rows = label_table(result)
    assert header[4:8] == ["DSC", "NSD", "HD95_area_mm", "ASSD_area_mm"]
    assert rows[1][3:8] == ["reference only", "0.0", "0.0", "inf", "inf"]


def test_labels_have_a_row_each_with_their_lesions():
    header, *rows = label_table(RESULT)
    assert len(rows) == 4
    assert header[6:9] == ["Lesions_TP", "Lesions_FP", "Lesions_FN"]
    assert rows[0][:9] == ["a.nii.gz", "1", "liver", "both", "0.9", "0.45", "", "", ""]
    assert rows[1][6:9] == ["2", "1", "0"]
    assert rows[3] == [
        *("b.nii.gz", "2", "tumor", "neither", "", ""),
        *("", "", "", "0.0000", "0.0000", "absent in both"),
    ]
    assert "Lesions_TP" not in label_table(folder(RESULT["b"]))[0]


def test_a_label_that_stops_the_script_is_the_reason_of_its_case():
    stopped = case("a", label_score(0, "both", NAN), label_score(1, "neither", NAN))
    assert case_table(folder(stopped))[1][-1] == "liver: absent in both"


def test_hostile_names_stay_one_cell():
    name = 'a,"b"\nc'
    text = csv_text(case_table(folder(case(name, status="failed"))))
    rows = list(csv.reader(io.StringIO(text)))
    assert rows[1][0] == f"{name}.nii.gz"
