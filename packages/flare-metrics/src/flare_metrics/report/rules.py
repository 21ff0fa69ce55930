"""What a protocol decides, in plain words."""

from __future__ import annotations

from typing import Any

from flare_metrics.protocols import Protocol, protocol

__all__ = ["rules_in_words"]

_WORDS: dict[str, dict[Any, str]] = {
    "tie": {
        "relative": "A surface point agrees up to its tolerance, rounding of the spacing forgiven.",
        "strict": "A surface point agrees only if its distance, as computed, is not above the "
        "tolerance; at spacings like 0.4 mm rounding can decide.",
    },
    "edge": {
        "surface": "An organ cut by the edge of the scan has a surface there.",
        "ignore": "An organ cut by the edge of the scan has no surface there.",
    },
    "both_empty": {
        "unscored": "A label absent in prediction and reference is listed, not averaged.",
        "one": "A label absent in prediction and reference scores 1.",
    },
    "missing_prediction": {
        "worst": "A case without usable prediction scores 0 for every label of its reference.",
        "unscored": "A case without usable prediction is listed and left out of all means.",
    },
    "other_labels": {
        "refuse": "A value that is no label of the protocol makes the file unusable.",
        "ignore": "Values that are no labels of the protocol count as background.",
        "zero": "A predicted value that is no label of the protocol sets the whole case to 0.",
    },
    "z_axis": {
        "patient": "z is the axis nearest to the patient's superior-inferior.",
        "file": "z is the third axis of the file, whatever it is in the patient.",
    },
    "detection": {
        "none": "Lesions are not counted one by one.",
        "overlap": "Lesions are matched one to one where they share a voxel.",
        "iou": "Lesions are matched one to one where they overlap by more than half of their "
        "union.",
    },
    "cast": {
        "none": "Label maps hold integers, or the file is refused.",
        "uint8": "Values are cast to 8 bits without sign: 1.9 becomes 1, 257 becomes 1.",
        "int8": "Values are cast to 8 bits with sign: 1.9 becomes 1, 200 becomes -56.",
    },
    "geometry": {
        "compare": "Both files must lie on one grid in the patient.",
        "shape": "Both files must have one shape; position and orientation are not compared.",
        "none": "Shape, position and orientation of the files are not compared.",
    },
    "match": {
        "case": "Files belong together by name without suffix.",
        "file": "Files belong together by whole name, and only .nii.gz files count.",
    },
    "loop": {
        "references": "Every reference is a case.",
        "predictions": "The official script goes through the predictions; a missing one would "
        "vanish from its table.",
    },
}
_CROPS = {
    "none": "Every label is scored on all slices.",
    "inclusive": "{labels}: scored on the slices that the reference labels, first and last "
    "included.",
    "half-open": "{labels}: scored on the slices that the reference labels, without the last one; "
    "of a single slice nothing is left.",
}
_TOGETHER = "z_crop_labels"


def rules_in_words(rules: Protocol) -> list[tuple[str, bool]]:
    """Return a sentence for each rule, and whether it departs from the sound protocol.

    Examples
    --------
    >>> rules_in_words(protocol("flare22"))[0][1]
    True
    """
    sound = protocol("sound")
    sentences = []
    for name, value in rules.settings.items():
        if name == _TOGETHER:
            continue
        departs = value != sound.settings.get(name)
        if name == "z_crop" and value != "none":
            departs = departs or rules.z_crop_labels != sound.z_crop_labels
        sentences.append((_sentence(rules, name, value), departs))
    # Departures are what a reader must know.
    return sorted(sentences, key=lambda sentence: not sentence[1])


def _sentence(rules: Protocol, name: str, value: Any) -> str:
    if name == "z_crop":
        cropped = [label.name for label in rules.labels if label.id in rules.z_crop_labels]
        listed = ", ".join(cropped)
        # Without labels there is nothing to cut.
        return _CROPS[value if cropped else "none"].format(labels=listed[:1].upper() + listed[1:])
    if name == "nsd_threshold":
        if value is None:
            return "NSD is computed whatever the DSC is."
        return f"NSD is 0 where DSC is below {value:g}."
    if name == "decimals":
        if value is None:
            return "Nothing is rounded; this page shows four decimals."
        return f"Each score is rounded to {value} decimals, then each mean."
    return _WORDS.get(name, {}).get(value, f"{name}: {value}.")
