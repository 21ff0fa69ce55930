"""What the numbers of a label map mean: ids, names, aliases, colors and codes.

Background is 0 everywhere and is not listed. Names are American and lower case; a lookup also takes
the aliases, among them TotalSegmentator's class names, without regard to case, spaces, hyphens and
underscores.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from flare_io.errors import LabelError
from flare_io.label_class import Code, LabelClass, color_by_id, name_key

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "Code",
    "LabelClass",
    "LabelTable",
    "label_table",
    "label_table_names",
    "map_labels",
]


@dataclass(frozen=True)
class LabelTable:
    """The classes of a label map, ordered by id.

    Parameters
    ----------
    name : str
        Name of the table, such as ``"flare23"``.
    classes : tuple of LabelClass
        At least one; ids, names and aliases are used once.

    Raises
    ------
    LabelError
        If two classes share an id, a name or an alias.

    Examples
    --------
    >>> table = label_table("flare23")
    >>> table.id_of("kidney_right"), table.name_of(13), len(table)
    (2, 'left kidney', 14)
    """

    name: str
    classes: tuple[LabelClass, ...]

    def __post_init__(self) -> None:
        classes = tuple(sorted(self.classes, key=lambda each: each.id))
        object.__setattr__(self, "classes", classes)
        if not classes:
            raise LabelError(self.name, "a label table needs at least one class", kind="labels")
        owner: dict[object, str] = {}
        for each in classes:
            keys: set[object] = {each.id, *map(name_key, (each.name, *each.aliases))}
            for key in keys:
                if key in owner:
                    raise LabelError(
                        self.name,
                        "ids, names and aliases must be used once",
                        found=f"{key!r} in {owner[key]!r} and {each.name!r}",
                        kind="labels",
                    )
                owner[key] = each.name

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def ids(self) -> tuple[int, ...]:
        """All ids, ascending, without background."""
        return tuple(each.id for each in self.classes)

    @property
    def names(self) -> tuple[str, ...]:
        """The names in the order of the ids."""
        return tuple(each.name for each in self.classes)

    def find(self, name: str) -> LabelClass | None:
        """Return the class of a name or alias, or None."""
        return _by_key(self).get(name_key(name))

    def id_of(self, name: str) -> int:
        """Return the id of a name or alias.

        Raises
        ------
        LabelError
            If the table has no such class; the message names the nearest ones.
        """
        found = self.find(name)
        if found is not None:
            return found.id
        import difflib

        near = difflib.get_close_matches(name_key(name), _by_key(self), n=3, cutoff=0.5)
        names = list(dict.fromkeys(_by_key(self)[key].name for key in near))
        remedy = f"did you mean {' or '.join(map(repr, names))}?" if names else ""
        raise LabelError(
            self.name,
            f"has no class {name!r}",
            remedy=remedy or f"its classes are {', '.join(self.names)}",
            kind="labels",
        )

    def ids_of(self, names: Iterable[str]) -> tuple[int, ...]:
        """Return the ids of several names, in their order."""
        return tuple(self.id_of(name) for name in names)

    def __getitem__(self, label: int) -> LabelClass:
        for each in self.classes:
            if each.id == label:
                return each
        raise LabelError(
            self.name,
            f"has no class {label}",
            remedy=f"its ids are {', '.join(map(str, self.ids))}",
            kind="labels",
        )

    def name_of(self, label: int) -> str:
        """Return the name of an id; 0 is ``"background"``."""
        return "background" if label == 0 else self[label].name

    def check(self, array: NDArray[Any], *, source: str = "label map") -> None:
        """Raise `LabelError` naming the values of an integer array that the table does not hold."""
        unknown = sorted(_distinct(array) - {0, *self.ids})
        if unknown:
            raise LabelError(
                source,
                f"labels must be 0 or in the table {self.name!r} ({_ranges(self.ids)})",
                found=_ranges(unknown),
                kind="labels",
            )

    def subset(self, ids: Iterable[int]) -> LabelTable:
        """Return the table of some of the classes, ids unchanged."""
        return LabelTable(self.name, tuple(self[label] for label in sorted(set(ids))))

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dict; `from_dict` is the way back."""
        return {"name": self.name, "classes": [each.to_dict() for each in self.classes]}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> LabelTable:
        """Return the table of a dict made by `to_dict`."""
        return cls(
            str(fields["name"]), tuple(LabelClass.from_dict(each) for each in fields["classes"])
        )

    @classmethod
    def from_names(cls, name: str, ids: Mapping[str, int]) -> LabelTable:
        """Return a table of bare names and ids, such as a ``dataset.json`` lists them.

        An id 0 is background and left out. Classes that FLARE 2023 knows take its color, aliases
        that no other class here uses, and code; the others get a color by id.

        Examples
        --------
        >>> table = LabelTable.from_names("mine", {"background": 0, "liver": 1, "portal vein": 2})
        >>> table.names, table[1].code.meaning
        (('liver', 'portal vein'), 'Liver')
        """
        known = label_table("flare23")
        taken = {name_key(each) for each in ids}
        classes = []
        for each, label in ids.items():
            if int(label) == 0:
                continue
            match = known.find(each)
            if match is None:
                classes.append(LabelClass(int(label), each, color=color_by_id(int(label))))
                continue
            candidates = (match.name, *match.aliases)
            aliases = tuple(other for other in candidates if name_key(other) not in taken)
            classes.append(LabelClass(int(label), each, aliases, match.color, match.code))
            taken.update(map(name_key, aliases))
        return cls(name, tuple(classes))


def label_table_names() -> tuple[str, ...]:
    """Return the names that `label_table` knows.

    Examples
    --------
    >>> label_table_names()
    ('flare23', 'flare24-task1')
    """
    return tuple(_shipped())


def label_table(name: str) -> LabelTable:
    """Return a table that comes with the package: ``"flare23"`` or ``"flare24-task1"``.

    Raises
    ------
    LabelError
        If there is none of that name.

    Examples
    --------
    >>> label_table("flare24-task1").names
    ('lesion',)
    """
    try:
        return _shipped()[name]
    except KeyError:
        raise LabelError(
            name,
            "is no label table of this package",
            remedy=f"choose one of {', '.join(_shipped())}",
            kind="labels",
        ) from None


def map_labels(
    array: NDArray[Any],
    source: LabelTable,
    target: LabelTable,
    *,
    unmatched: Literal["error", "drop"] = "error",
) -> NDArray[Any]:
    """Return a label map with the ids of one table written as those of another.

    Parameters
    ----------
    array : integer array
        Labels of ``source``, any shape.
    source, target : LabelTable
        Classes match by name or alias.
    unmatched : {"error", "drop"}
        What to do with a class that the array holds and the target does not know: refuse, or make
        it background.

    Returns
    -------
    array
        Smallest unsigned type that holds the target's ids.

    Raises
    ------
    LabelError
        If a value is not in ``source``, or a class has no match and ``unmatched`` is ``"error"``.

    Examples
    --------
    >>> import numpy as np
    >>> total = LabelTable.from_names("total", {"spleen": 1, "kidney_right": 2, "liver": 5})
    >>> map_labels(np.array([0, 1, 2, 5]), total, label_table("flare23")).tolist()
    [0, 3, 2, 1]
    """
    import numpy as np

    source.check(array, source="array")
    lookup = np.zeros(max(source.ids) + 1, dtype=np.min_scalar_type(max(target.ids)))
    without = []
    for each in source.classes:
        matches = (target.find(name) for name in (each.name, *each.aliases))
        match = next((found for found in matches if found is not None), None)
        if match is not None:
            lookup[each.id] = match.id
        elif unmatched == "error" and bool((array == each.id).any()):
            without.append(each.name)
    if without:
        raise LabelError(
            target.name,
            f"has no class for {', '.join(without)}",
            remedy="pass unmatched='drop' to make them background",
            kind="labels",
        )
    mapped: NDArray[Any] = lookup[array]
    return mapped


@lru_cache(maxsize=1)
def _shipped() -> dict[str, LabelTable]:
    import tomllib
    from importlib.resources import files

    text = files("flare_io").joinpath("label_tables.toml").read_text(encoding="utf-8")
    return {
        name: LabelTable(name, tuple(LabelClass.from_dict(each) for each in table["classes"]))
        for name, table in tomllib.loads(text).items()
    }


@lru_cache(maxsize=64)
def _by_key(table: LabelTable) -> dict[str, LabelClass]:
    return {name_key(name): each for each in table.classes for name in (each.name, *each.aliases)}


def _distinct(array: NDArray[Any]) -> set[int]:
    # Here, as tables are read without NumPy.
    import numpy as np

    # Plane by plane: sorting a whole scan to find ten values costs seconds and twice its memory.
    planes = array if array.ndim > 1 else array[None]
    return {int(value) for plane in planes for value in np.unique(plane)}


def _ranges(values: Iterable[int]) -> str:
    """Return ``1-3, 7`` of ascending numbers."""
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][1] + 1:
            runs[-1][1] = value
        else:
            runs.append([value, value])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
