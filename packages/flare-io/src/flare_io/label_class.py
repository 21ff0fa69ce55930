"""One class of a label map: id, names, display color and DICOM code."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["Code", "LabelClass", "color_by_id", "name_key"]

_CATEGORIES = {
    "anatomy": ("91723000", "Anatomical Structure"),
    "abnormal": ("49755003", "Morphologically Abnormal Structure"),
}
_LATERALITY = {"right": ("24028007", "Right"), "left": ("7771000", "Left")}


@dataclass(frozen=True)
class Code:
    """A SNOMED CT concept as a DICOM segmentation names it.

    Parameters
    ----------
    value, meaning : str
        The property type, for example ``"64033007"`` and ``"Kidney"``.
    laterality : {"", "right", "left"}
        Side of a paired organ, a modifier of its own in DICOM.
    category : {"anatomy", "abnormal"}
        Anatomical structure, or morphologically abnormal structure (tumor, lesion).

    Examples
    --------
    >>> Code("64033007", "Kidney", "right").modifier
    ('24028007', 'Right')
    """

    value: str
    meaning: str
    laterality: Literal["", "right", "left"] = ""
    category: Literal["anatomy", "abnormal"] = "anatomy"

    @property
    def modifier(self) -> tuple[str, str] | None:
        """Value and meaning of the laterality, or None."""
        return _LATERALITY.get(self.laterality)

    @property
    def property_category(self) -> tuple[str, str]:
        """Value and meaning of the property category."""
        return _CATEGORIES[self.category]

    def to_dict(self) -> dict[str, str]:
        """Return a JSON-ready dict; ``Code(**it)`` is the way back."""
        fields = {"value": self.value, "meaning": self.meaning}
        if self.laterality:
            fields["laterality"] = self.laterality
        if self.category != "anatomy":
            fields["category"] = self.category
        return fields


@dataclass(frozen=True)
class LabelClass:
    """One class of a label map.

    Parameters
    ----------
    id : int
        Value in the label map, > 0.
    name : str
        The one name that is printed.
    aliases : tuple of str
        Other names by which it is found.
    color : (3,) int
        Red, green, blue, 0..255.
    code : Code or None
        Its concept, if known.
    """

    id: int
    name: str
    aliases: tuple[str, ...] = ()
    color: tuple[int, int, int] = (255, 255, 255)
    code: Code | None = None

    def __post_init__(self) -> None:
        if self.id < 1:
            raise ValueError(f"id must be at least 1 (0 is background), got {self.id}")
        if not name_key(self.name):
            raise ValueError(f"name must hold letters or digits, got {self.name!r}")
        object.__setattr__(self, "aliases", tuple(self.aliases))
        object.__setattr__(self, "color", tuple(int(v) for v in self.color))
        if len(self.color) != 3 or not all(0 <= v <= 255 for v in self.color):
            raise ValueError(f"color must be three numbers 0..255, got {self.color}")

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dict."""
        return {
            "id": self.id,
            "name": self.name,
            "aliases": list(self.aliases),
            "color": list(self.color),
            "code": None if self.code is None else self.code.to_dict(),
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> LabelClass:
        """Return the class of a dict made by `to_dict`; all but id and name may be missing."""
        values = dict(fields)
        code = values.pop("code", None)
        return cls(**values, code=None if code is None else Code(**code))


def name_key(name: str) -> str:
    """Return what makes two names the same: letters and digits, lower case.

    Examples
    --------
    >>> name_key("Kidney_Right") == name_key("kidney right")
    True
    """
    return "".join(letter for letter in name.lower() if letter.isalnum())


def color_by_id(label: int) -> tuple[int, int, int]:
    """Return a bright color for a class that has none of its own."""
    # Steps of the golden ratio keep neighboring ids far apart on the color circle.
    red, green, blue = colorsys.hsv_to_rgb((label * 0.618034) % 1.0, 0.65, 0.95)
    return round(red * 255), round(green * 255), round(blue * 255)
