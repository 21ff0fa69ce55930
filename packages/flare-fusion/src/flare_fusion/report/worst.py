"""The ten cases whose sources agree least, with pictures of where."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flare_fusion.report.markup import Html, element, joined
from flare_fusion.report.pictures import CONFLICT_COLOR, CasePictures, case_pictures

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
        "ul",
        element("li", _sample("solid"), "the source's label, or the fused one"),
        element("li", _sample("conflict"), "sources differ here"),
        class_="legend",
    )
    return element(
        "section",
        element("h2", "Worst cases"),
        element(
            "p",
            f"The {len(cases)} case{'s' * (len(cases) > 1)} with the lowest mean DSC between "
            "sources. Planes are those with most conflict; the patient's right is on the left. "
            "Colors are those of the classes in flare-io.",
        ),
        legend,
        *(_article(case, pictures) for case, pictures in zip(cases, drawn, strict=True)),
        id="worst",
    )


def _rank(case: CaseFusion) -> tuple[float, float, str]:
    assert case.agreement is not None
    return case.agreement["mean_dice"], -case.agreement["conflict_ml"], case.case


def _article(case: CaseFusion, pictures: CasePictures) -> Html:
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
        element("p", element("bdi", pictures.fault), class_="remark") if pictures.fault else None,
        joined(groups),
        class_="case",
    )


def _sample(kind: str) -> Html:
    color = "#{:02x}{:02x}{:02x}".format(*CONFLICT_COLOR)
    shape = (
        f'<rect x="3" y="3" width="18" height="10" fill="{color}"/>'
        if kind == "conflict"
        else '<rect x="4" y="4" width="16" height="8" fill="none" stroke="#7fd3ff" '
        'stroke-width="2"/>'
    )
    return Html(
        f'<svg class="sample" width="24" height="16" aria-hidden="true" viewBox="0 0 24 16">'
        f"{shape}</svg>"
    )
