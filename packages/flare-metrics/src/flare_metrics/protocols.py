"""Rules of scoring as data: labels, tolerances, and how each open question is decided.

The built-in protocols are TOML files of this package; another one is such a file of your own.
"""

from __future__ import annotations

import math
import os
import tomllib
from dataclasses import dataclass, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from flare_metrics._settings import did_you_mean, parsed_setting

__all__ = ["Label", "Protocol", "protocol", "protocol_names"]

_CHOICES = {
    "tie": ("relative", "strict"),
    "edge": ("surface", "ignore"),
    "both_empty": ("unscored", "one"),
    "missing_prediction": ("worst", "unscored"),
    "other_labels": ("refuse", "ignore", "zero"),
    "z_axis": ("patient", "file"),
    "z_crop": ("none", "inclusive", "half-open"),
    "detection": ("none", "overlap", "iou"),
    "cast": ("none", "uint8", "int8"),
    "geometry": ("compare", "shape", "none"),
    "match": ("case", "file"),
    "loop": ("references", "predictions"),
}
_FIXED = ("name", "title", "labels")


@dataclass(frozen=True, kw_only=True)
class Label:
    """One label of a protocol.

    Parameters
    ----------
    id : int
        Its value in label maps, in [1, 65535].
    name : str
        Its name in words.
    tolerance_mm : float
        Tolerance of the surface Dice, >= 0.
    column : str, optional
        Its name in official tables; the name by default.
    kind : {"organ", "lesion"}
        Lesions are summarized apart, for diseased and healthy cases.
    """

    id: int
    name: str
    tolerance_mm: float
    column: str = ""
    kind: Literal["organ", "lesion"] = "organ"

    def __post_init__(self) -> None:
        if not isinstance(self.id, int) or not 1 <= self.id <= 65535:
            raise ValueError(f"id of a label must be an integer in [1, 65535], got {self.id!r}")
        if not (isinstance(self.name, str) and self.name.strip()):
            raise ValueError(f"name of label {self.id} must be a word, got {self.name!r}")
        if isinstance(self.tolerance_mm, bool) or not (
            math.isfinite(self.tolerance_mm) and self.tolerance_mm >= 0
        ):
            raise ValueError(
                f"tolerance_mm of {self.name} must be a number >= 0, got {self.tolerance_mm!r}"
            )
        if self.kind not in ("organ", "lesion"):
            raise ValueError(f"kind of {self.name} must be 'organ' or 'lesion', got {self.kind!r}")
        if not self.column:
            object.__setattr__(self, "column", self.name)


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How a case is scored; every quirk of an official script is one field.

    Parameters
    ----------
    name, title : str
        Short name and one line of explanation.
    labels : tuple of Label
        What is scored, ids unique.
    tie : {"relative", "strict"}
        Whether a distance of tolerance x (1 + 1e-6) agrees, or only one <= tolerance.
    edge : {"surface", "ignore"}
        Whether a label cut by the edge of the array has a surface there.
    both_empty : {"unscored", "one"}
        A label absent in prediction and reference is listed without score, or scores 1.
    missing_prediction : {"worst", "unscored"}
        A case without usable prediction scores 0 for every label of its reference, or is listed
        without score.
    other_labels : {"refuse", "ignore", "zero"}
        Values outside the labels make a file unusable, or count as background; ``"zero"``: in a
        prediction they set every label of the case to 0, before anything else is looked at.
    z_axis : {"patient", "file"}
        Which axis of a file is z: the one nearest to superior-inferior, or the third.
    z_crop : {"none", "inclusive", "half-open"}
        Whether ``z_crop_labels`` are scored only on slices that the reference labels;
        ``"half-open"`` loses the last, and nothing is left of a label on one slice.
    z_crop_labels : tuple of int
        Ids that ``z_crop`` is about.
    nsd_threshold : float or None
        DSC below which NSD is set to 0.
    decimals : int or None
        Each score, and then each mean, is rounded to so many.
    detection : {"none", "overlap", "iou"}
        How lesions are matched one by one, if at all.
    cast : {"none", "uint8", "int8"}
        ``"none"`` takes integers only; the others turn any value into 8 bits as C does: fractions
        are cut off, 257 becomes 1, and 200 becomes -56 in int8.
    geometry : {"compare", "shape", "none"}
        What two files must share: the grid in patient space, the shape, or nothing. Only
        ``"compare"`` reads the unit of length; the others take the header's zooms as millimeters.
        Under ``"none"`` a case of two shapes is without score where a label is in both files.
    match : {"case", "file"}
        Files belong together by name without suffix in any format, or by whole name among
        ``.nii.gz`` files.
    loop : {"references", "predictions"}
        Which folder an official script walks through; it decides what is said of a case that is
        in one folder only.
    """

    name: str
    labels: tuple[Label, ...]
    title: str = ""
    tie: Literal["relative", "strict"] = "relative"
    edge: Literal["surface", "ignore"] = "surface"
    both_empty: Literal["unscored", "one"] = "unscored"
    missing_prediction: Literal["worst", "unscored"] = "worst"
    other_labels: Literal["refuse", "ignore", "zero"] = "refuse"
    z_axis: Literal["patient", "file"] = "patient"
    z_crop: Literal["none", "inclusive", "half-open"] = "none"
    z_crop_labels: tuple[int, ...] = ()
    nsd_threshold: float | None = None
    decimals: int | None = None
    detection: Literal["none", "overlap", "iou"] = "none"
    cast: Literal["none", "uint8", "int8"] = "none"
    geometry: Literal["compare", "shape", "none"] = "compare"
    match: Literal["case", "file"] = "case"
    loop: Literal["references", "predictions"] = "references"

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"{name} must be one of {', '.join(choices)}, got {getattr(self, name)!r}"
                )
        ids = [label.id for label in self.labels]
        if not ids or len(set(ids)) != len(ids):
            raise ValueError(f"labels must have unique ids, got {ids}")
        for part in ("name", "column"):
            names = [getattr(label, part) for label in self.labels]
            again = sorted({name for name in names if names.count(name) > 1})
            if again:
                raise ValueError(f"labels must have unique {part}s, got {', '.join(again)} twice")
        unknown = sorted(set(self.z_crop_labels) - set(ids))
        if unknown:
            raise ValueError(f"z_crop_labels must be ids of labels, got {unknown}")
        if self.nsd_threshold is not None and not 0 <= self.nsd_threshold <= 1:
            raise ValueError(f"nsd_threshold must be none or in [0, 1], got {self.nsd_threshold!r}")
        if self.decimals is not None and not 0 <= self.decimals <= 15:
            raise ValueError(f"decimals must be none or 0 to 15, got {self.decimals!r}")

    @property
    def settings(self) -> dict[str, Any]:
        """Every field that decides about scores, without the labels."""
        return {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.name not in _FIXED
        }

    def with_setting(self, text: str) -> Protocol:
        """Return the protocol with one field changed, as ``--set`` of the command does.

        Parameters
        ----------
        text : str
            ``FIELD=VALUE``; ``none`` for no value, ids separated by commas.

        Raises
        ------
        ValueError
            If there is no such field, or the value is none of its.

        Examples
        --------
        >>> rules = protocol("flare23").with_setting("z_crop=inclusive")
        >>> rules.with_setting("z_crop_labels=5,6").z_crop_labels
        (5, 6)
        >>> rules.with_setting("zcrop=none")
        Traceback (most recent call last):
        ValueError: unknown field 'zcrop'; did you mean z_crop?
        """
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals:
            raise ValueError(f"a setting must be FIELD=VALUE, got {text!r}")
        if name not in self.settings:
            raise ValueError(f"unknown field {name!r}{did_you_mean(name, self.settings)}")
        return replace(self, **{name: parsed_setting(name, value)})

    def with_options(self, **options: Any) -> Protocol:
        """Return the protocol with other values, such as ``nsd_threshold=0.1``.

        Examples
        --------
        >>> protocol("flare23").with_options(nsd_threshold=None).nsd_threshold is None
        True
        """
        return replace(self, **options)


def protocol(name: str | os.PathLike[str]) -> Protocol:
    """Return a built-in protocol by name, or one of your own from a TOML file.

    Parameters
    ----------
    name : str or path
        ``"sound"``, ``"flare22"``, ``"flare23"``, ``"flare24-task1"``, or a path that ends in
        ``.toml``.

    Raises
    ------
    ValueError
        If there is no such protocol, or the file says something that no protocol has.

    Examples
    --------
    >>> protocol("flare23").labels[4]
    Label(id=5, name='aorta', tolerance_mm=2.0, column='Aorta', kind='organ')
    >>> protocol("flare32")
    Traceback (most recent call last):
    ValueError: protocol must be flare22, ..., got 'flare32'; did you mean flare23?
    """
    if os.fspath(name).endswith(".toml"):
        path = Path(name)
        return _from_toml(path.read_bytes(), path.stem, os.fspath(path))
    if name not in protocol_names():
        hint = did_you_mean(os.fspath(name), protocol_names(), listed=False)
        raise ValueError(
            f"protocol must be {', '.join(protocol_names())} or a .toml file, "
            f"got {os.fspath(name)!r}{hint}"
        )
    data = (resources.files("flare_metrics") / "data" / f"{name}.toml").read_bytes()
    return _from_toml(data, os.fspath(name), f"protocol {name}")


def protocol_names() -> tuple[str, ...]:
    """Return the names of the built-in protocols.

    Examples
    --------
    >>> protocol_names()
    ('flare22', 'flare23', 'flare24-task1', 'sound')
    """
    entries = (resources.files("flare_metrics") / "data").iterdir()
    return tuple(sorted(entry.name[:-5] for entry in entries if entry.name.endswith(".toml")))


def _from_toml(data: bytes, name: str, source: str) -> Protocol:
    try:
        table = tomllib.loads(data.decode())
        rows = table.pop("labels", [])
        if not (isinstance(rows, list) and rows and all(isinstance(row, dict) for row in rows)):
            raise ValueError("must have tables [[labels]], each with id, name and tolerance_mm")
        labels = tuple(_label(row) for row in rows)
        crop = tuple(table.pop("z_crop_labels", ()))
        return Protocol(
            **{"name": name, **_known(table, Protocol)}, labels=labels, z_crop_labels=crop
        )
    except (ValueError, TypeError) as error:
        raise ValueError(f"{source}: not a protocol: {error}") from error


def _label(row: dict[str, Any]) -> Label:
    missing = [key for key in ("id", "name", "tolerance_mm") if key not in row]
    if missing:
        raise ValueError(f"a label must have {', '.join(missing)}, found {row}")
    return Label(**_known(row, Label))


def _known(table: dict[str, Any], kind: type) -> dict[str, Any]:
    names = [field.name for field in fields(kind)]
    for key in table:
        if key not in names:
            raise ValueError(f"unknown key {key!r}{did_you_mean(key, names)}")
    return table
