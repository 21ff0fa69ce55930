"""The register of claims, read from its documents."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from flare_train.claims.statistics import Spread
from flare_train.recipe_document import merge_layers, nearest, shared_scale
from flare_train.recipe_stages import recipe_stages
from flare_train.settings import from_plain, require
from flare_train.stages.graph import Stage, wanted_for

__all__ = ["MEASURES", "SCALES", "Arm", "Claim", "Comparison", "arm_stages", "claim_ids",
           "read_claim"]  # fmt: skip

SCALES = ("mini", "unit")
MEASURES = ("organ_dsc", "organ_nsd", "tumor_dsc", "tumor_nsd", "healthy_ml", "seconds")
_RESULT = "scored"


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One of the things that are compared.

    Parameters
    ----------
    name, about : str
    changes : mapping
        Tables laid over the claim's, see `flare_train.recipe_document.merge_layers`.
    """

    name: str
    about: str
    changes: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two arms and what is expected of them.

    Parameters
    ----------
    first, second : str
        Names of arms.
    measure : str
        ``organ_dsc``, ``organ_nsd``: mean over the organs of a case. ``tumor_dsc``, ``tumor_nsd``:
        of cases with a tumor. ``healthy_ml``: volume of false tumor in cases without one.
        ``seconds``: from file to label map.
    expect : {"higher", "lower", "same"}
        Of the second arm.
    labels : tuple of int
        Of the organ measures: only these.
    name : str
        Of the measure, where `labels` are given.
    primary : bool
        Whether this one decides about the claim.
    """

    first: str
    second: str
    measure: str
    expect: str
    labels: tuple[int, ...] = ()
    name: str = ""
    primary: bool = False

    def __post_init__(self) -> None:
        require(
            self.measure in MEASURES, "measure", f"be one of {', '.join(MEASURES)}", self.measure
        )
        known = ("higher", "lower", "same")
        require(self.expect in known, "expect", f"be one of {', '.join(known)}", self.expect)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A published statement with the experiment that tries it.

    Parameters
    ----------
    id, title, published, about : str
        ``published``: the effect as printed.
    arms : tuple of Arm
    comparisons : tuple of Comparison
    most_seeds : int
        More seeds than this are not used; 0: any number.
    spreads : mapping of str to Spread
        By measure, where the usual ones do not fit.
    document : mapping
        The claim's own tables.
    """

    id: str
    title: str
    published: str
    about: str
    arms: tuple[Arm, ...]
    comparisons: tuple[Comparison, ...]
    most_seeds: int
    spreads: Mapping[str, Spread]
    document: Mapping[str, Any]

    def seeds(self, wanted: int) -> range:
        """Return the seeds of a run that was asked for so many."""
        return range(min(wanted, self.most_seeds) if self.most_seeds else wanted)


def claim_ids() -> tuple[str, ...]:
    """Return the claims of the register.

    Examples
    --------
    >>> claim_ids()
    ('C2', 'C3', 'C5', 'C6', 'C8', 'C9')
    """
    entries = (entry.name for entry in resources.files(f"{__package__}.documents").iterdir())
    names = (name[:-5].upper() for name in entries if name.endswith(".toml"))
    return tuple(sorted(name for name in names if name != "COMMON"))


def read_claim(id: str) -> Claim:
    """Read a claim of the register.

    Raises
    ------
    ValueError
        If there is no such claim, or its document names an arm that it does not have.

    Examples
    --------
    >>> claim = read_claim("C5")
    >>> claim.arms[0].name, claim.comparisons[0].measure
    ('naive', 'tumor_dsc')
    """
    if id not in claim_ids():
        raise ValueError(
            f"there is no claim {id!r}{nearest(id, claim_ids())}; claims are "
            f"{', '.join(claim_ids())}"
        )
    document = _document(id.lower())
    arms = tuple(
        Arm(name=name, about=table.pop("about"), changes=table)
        for name, table in document.pop("arms").items()
    )
    comparisons = tuple(
        from_plain(Comparison, table, f"{id}.compare.") for table in document.pop("compare")
    )
    for comparison in comparisons:
        for name in (comparison.first, comparison.second):
            names = [arm.name for arm in arms]
            require(name in names, f"{id}.compare", f"name one of the arms {names}", name)
    return Claim(
        id=id,
        title=document.pop("title"),
        published=document.pop("published"),
        about=document.pop("about", "").strip(),
        arms=arms,
        comparisons=comparisons,
        most_seeds=int(document.pop("most_seeds", 0)),
        spreads={
            measure: from_plain(Spread, table, f"{id}.spreads.{measure}.")
            for measure, table in document.pop("spreads", {}).items()
        },
        document=document,
    )


def arm_stages(claim: Claim, arm: Arm, *, scale: str, seed: int) -> tuple[Stage, ...]:
    """Return the stages of an arm, from the data to the stage ``scored``.

    Parameters
    ----------
    claim, arm : Claim, Arm
    scale : {"mini", "unit"}
    seed : int
        Of patients, weights and sampling: equal ones make arms a pair.

    Examples
    --------
    >>> claim = read_claim("C5")
    >>> [stage.name for stage in arm_stages(claim, claim.arms[0], scale="unit", seed=1)]
    ['data', 'cases', 'net', 'predicted', 'scored']
    """
    merged = settled_document(claim, arm, scale=scale)
    stages = recipe_stages(
        {**merged, "seed": seed}, dataset=None, recipe=f"claim {claim.id}", scale=scale
    )
    return wanted_for(stages, [_RESULT])


def settled_document(claim: Claim, arm: Arm, *, scale: str) -> dict[str, Any]:
    """Return the tables of an arm after all overlays.

    Raises
    ------
    ValueError
        If there is no such scale.
    """
    if scale not in SCALES:
        raise ValueError(f"scale must be one of {', '.join(SCALES)}, got {scale!r}")
    common = _document("common")
    # Known from the start, so that what all stages of a kind share reaches all of them.
    kinds = {
        name: {"kind": table["kind"]}
        for document in (common, claim.document)
        for name, table in document.get("stages", {}).items()
        if "kind" in table
    }
    layers = [
        {"stages": kinds},
        shared_scale(scale),
        common,
        claim.document,
        common["scale"][scale],
        claim.document.get("scale", {}).get(scale, {}),
        arm.changes,
    ]
    return merge_layers(layers, f"claim {claim.id}")


def _document(name: str) -> dict[str, Any]:
    source = resources.files(f"{__package__}.documents") / f"{name}.toml"
    return tomllib.loads(source.read_text(encoding="utf-8"))
