"""What a finished recipe leaves beside the model: the run card, and the table of its scores."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from flare_io.atomic import write_json, write_text
from flare_train.recipe import Recipe
from flare_train.stages.work import StageResult

__all__ = ["ScoreRow", "describe_scores", "run_card", "score_rows", "write_run_card"]

_PACKAGES = (
    "flare-train", "flare-infer", "flare-fusion", "flare-nets", "flare-io", "flare-metrics",
    "torch", "numpy", "blosc2",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ScoreRow:
    """Held-out scores of one model.

    Parameters
    ----------
    name : str
    organ_dsc, organ_nsd : float or None
        Mean over organs of the mean over cases.
    tumor_dsc, tumor_nsd : float or None
        Mean over the cases that have a tumor.
    diseased, healthy, healthy_wrong : int
        Cases with a tumor, without one, and of the latter those in which one was predicted.
    seconds_per_case : float or None
        From file to label map, model warm.
    """

    name: str
    organ_dsc: float | None
    organ_nsd: float | None
    tumor_dsc: float | None
    tumor_nsd: float | None
    diseased: int
    healthy: int
    healthy_wrong: int
    seconds_per_case: float | None


def score_rows(recipe: Recipe, results: Mapping[str, StageResult]) -> tuple[ScoreRow, ...]:
    """Return the scores of a recipe, one row for each of its ``[scores]`` that has a reference."""
    stages = {stage.name: stage for stage in recipe.stages}
    rows = []
    for name, stage in recipe.scores.items():
        table = results[stage].values["table"]
        if table is None:
            continue
        predicted = results[str(stages[stage].settings["predictions"])]
        lesions = [each for each in table["labels"].values() if each["kind"] == "lesion"]
        lesion = lesions[0] if lesions else {}
        diseased, healthy = lesion.get("diseased", {}), lesion.get("healthy", {})
        rows.append(
            ScoreRow(
                name=name,
                organ_dsc=table["organs"]["mean_dsc"],
                organ_nsd=table["organs"]["mean_nsd"],
                tumor_dsc=diseased.get("dsc", {}).get("mean"),
                tumor_nsd=diseased.get("nsd", {}).get("mean"),
                diseased=int(diseased.get("cases", 0)),
                healthy=int(healthy.get("cases", 0)),
                healthy_wrong=int(healthy.get("wrongly_predicted", 0)),
                seconds_per_case=predicted.values["seconds_per_case"],
            )
        )
    return tuple(rows)


def describe_scores(rows: tuple[ScoreRow, ...]) -> str:
    """Return rows as a Markdown table, tumor scores of diseased and healthy cases apart."""
    if not rows:
        return "no scores: the dataset's test cases have no label maps"
    lines = [
        "| model | organs DSC | NSD | tumor DSC (diseased) | NSD | healthy, false tumor | s/case |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [
            row.name,
            _number(row.organ_dsc),
            _number(row.organ_nsd),
            f"{_number(row.tumor_dsc)} (n = {row.diseased})",
            _number(row.tumor_nsd),
            f"{row.healthy_wrong} of {row.healthy}",
            _number(row.seconds_per_case),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def run_card(recipe: Recipe, results: Mapping[str, StageResult]) -> dict[str, Any]:
    """Return everything that says how a result came about, JSON-ready.

    Returns
    -------
    dict
        Recipe with the SHA-256 of its document, the readings that were followed, data, every stage
        with its key and wall time, versions, machine, the model's size, scores.
    """
    data = results["data"]
    return {
        "recipe": recipe.name,
        "title": recipe.title,
        "scale": recipe.scale,
        "document_sha256": recipe.sha256,
        "readings": {
            reading.name: {
                "used": reading.used,
                "default": reading.default,
                "replaced": reading.replaced,
                "about": reading.about,
            }
            for reading in recipe.readings
        },
        "data": {"key": data.key, **{k: v for k, v in data.values.items() if k != "root"}},
        "stages": {
            name: {"kind": each.kind, "key": each.key, "seconds": each.seconds}
            for name, each in results.items()
        },
        "seconds": round(sum(each.seconds for each in results.values()), 1),
        "failed_cases": {
            name: each.values["failed"]
            for name, each in results.items()
            if each.values.get("failed")
        },
        "model": _model(results[recipe.model]),
        "scores": [vars(row) for row in score_rows(recipe, results)],
        "versions": {"python": platform.python_version(), **_versions()},
        "machine": {
            "system": platform.platform(),
            "cores": os.cpu_count(),
            "processor": platform.processor() or platform.machine(),
        },
        "settings": dict(recipe.document),
    }


def write_run_card(folder: Path, card: Mapping[str, Any], rows: tuple[ScoreRow, ...]) -> None:
    """Write ``run_card.json`` and ``run_card.md``."""
    write_json(folder / "run_card.json", dict(card))
    write_text(folder / "run_card.md", _markdown(card, rows))


def _markdown(card: Mapping[str, Any], rows: tuple[ScoreRow, ...]) -> str:
    model = card["model"]
    lines = [
        f"# {card['recipe']} at scale {card['scale']}",
        "",
        card["title"],
        "",
        describe_scores(rows),
        "",
        f"Model: {model['members']} net(s) of {model['parameters'] / 1e6:.3f} M parameters, "
        f"{model['macs'] / 1e9:.2f} GMAC a window, {model['bytes'] / 2**20:.1f} MiB on disk.",
        f"Data: {card['data']['name']}, {card['data']['train_cases']} training cases, "
        f"{card['data']['labeled']} of them labeled, {card['data']['test_cases']} test cases.",
        "",
        "## Readings",
        "",
        *(
            f"- {name} = {reading['used']}"
            + ("" if reading["used"] == reading["default"] else f" (default {reading['default']})")
            + (" (replaced at this scale)" if reading["replaced"] else "")
            + f": {reading['about']}"
            for name, reading in card["readings"].items()
        ),
        "",
        "## Stages",
        "",
        "| stage | kind | seconds | key |",
        "|---|---|---|---|",
        *(
            f"| {name} | {stage['kind']} | {stage['seconds']:.1f} | {stage['key'][:12]} |"
            for name, stage in card["stages"].items()
        ),
        "",
        f"Document SHA-256 {card['document_sha256']}; {card['machine']['system']}, "
        f"{card['machine']['cores']} cores; "
        + ", ".join(f"{name} {number}" for name, number in card["versions"].items()),
    ]
    return "\n".join(lines) + "\n"


def _model(result: StageResult) -> dict[str, Any]:
    from flare_infer.model import read_model

    model = read_model(result.folder / "model")
    size = sum(path.stat().st_size for path in model.folder.rglob("*") if path.is_file())
    return {
        "stage": result.name,
        "members": model.members,
        "parameters": model.parameters,
        "macs": model.macs,
        "bytes": size,
        "weights_sha256": model.weights_sha256,
    }


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
