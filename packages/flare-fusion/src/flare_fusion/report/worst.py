"""The ten cases whose sources agree least, with pictures of where."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from flare_fusion.report.markup import Html, element, joined
from flare_fusion.report.pictures import CONFLICT_COLOR, CasePictures, case_pictures
from flare_io.label_class import color_by_id
from flare_io.labels import label_table

if TYPE_CHECKING:
    from flare_fusion.results import CaseFusion, DatasetFusion

__all__ = ["worst_cases", "worst_section"]

_SHOWN = 10


def worst_cases(result: DatasetFusion) -> list[CaseFusion]:
    """Return the cases with the lowest mean DSC between sources, at most ten, lowest first.

    Cases in full agreement are none of the worst. Equal ones come with most conflict first.
    """
    cases = [
        case
        for case in result.fused
        if case.agreement
        and case.agreement["conflict_voxels"]
        and case.agreement["mean_dice"] is not None
    ]
    return sorted(cases, key=_rank)[:_SHOWN]


def worst_section(result: DatasetFusion, *, jobs: int | None = None) -> Html | None:
    """Return the worst cases with their pictures; None where no sources differ."""
    from joblib import Parallel, delayed

    cases = worst_cases(result)
    if not cases:
        return None
    drawn = Parallel(n_jobs=jobs)(
        delayed(case_pictures)(case, folder=result.folder) for case in cases
    )
    legend = element(
        "ul", element("li", _hatch(), "two sources differ on a class here"), class_="legend"
    )
    return element(
        "section",
        element("h2", "Worst cases"),
        element(
            "p",
            f"The {len(cases)} case{'s' * (len(cases) > 1)} with the lowest mean DSC between "
            "sources. Planes are those with most conflict; the patient's right is on the left. "
            "Classes carry the colors given with their conflict.",
        ),
        legend,
        *(_article(case, each, result.names) for case, each in zip(cases, drawn, strict=True)),
        id="worst",
    )


def _rank(case: CaseFusion) -> tuple[float, float, str]:
    assert case.agreement is not None
    return case.agreement["mean_dice"], -case.agreement["conflict_ml"], case.case


def _article(case: CaseFusion, pictures: CasePictures, names: Mapping[str, str]) -> Html:
    figures = case.agreement or {}
    facts = [
        f"mean DSC {figures['mean_dice']:.3f}",
        f"conflict {figures['conflict_ml']:.1f} ml",
        None if figures["kappa"] is None else f"kappa {figures['kappa']:.3f}",
        f"by {case.rule}",
    ]
    groups = [
        element(
            "div",
            *(
                element(
                    "figure",
                    element("img", src=panel.uri, alt=panel.caption, width=panel.width),
                    element("figcaption", element("bdi", panel.caption)),
                )
                for panel in panels
            ),
            class_="panels",
        )
        for panels in (pictures.views, pictures.sources)
        if panels
    ]
    return element(
        "article",
        element("h3", element("bdi", case.case)),
        element("p", ", ".join(filter(None, facts)), class_="small"),
        _conflicts(figures["conflict_ml_of"], names),
        element("p", element("bdi", pictures.fault), class_="remark") if pictures.fault else None,
        joined(groups),
        class_="case",
    )


def _conflicts(volumes_ml: Mapping[str, float], names: Mapping[str, str]) -> Html:
    """Return the classes in conflict with color and volume, the largest first."""
    known = {each.id: each.color for each in label_table("flare23").classes}
    largest = sorted(volumes_ml.items(), key=lambda item: -item[1])
    items = []
    for label, volume_ml in largest:
        color = known.get(int(label)) or color_by_id(int(label))
        name = element("bdi", names.get(label) or f"label {label}")
        items.append(element("li", _swatch(color), name, f" {volume_ml:.1f} ml"))
    return element("ul", *items, class_="legend")


def _swatch(color: tuple[int, int, int]) -> Html:
    return Html(
        '<svg class="sample" width="14" height="14" aria-hidden="true"><rect width="14" '
        'height="14" fill="#{:02x}{:02x}{:02x}"/></svg>'.format(*color)
    )


def _hatch() -> Html:
    color = "#{:02x}{:02x}{:02x}".format(*CONFLICT_COLOR)
    return Html(
        '<svg class="sample" width="24" height="16" aria-hidden="true" viewBox="0 0 24 16">'
        f'<path d="M0 8 8 0M0 16 16 0M8 16 24 0M16 16 24 8" stroke="{color}" stroke-width="2"/>'
        "</svg>"
    )
