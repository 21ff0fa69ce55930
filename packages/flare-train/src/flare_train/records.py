"""What a run leaves for people: one JSON object per epoch, and a picture of them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flare_io.atomic import replacing, write_text

__all__ = ["append_record", "draw_progress", "read_records", "trim_records"]


def append_record(path: os.PathLike[str] | str, record: Mapping[str, Any]) -> None:
    """Add one line; a kill can tear the last line only, which `read_records` leaves out."""
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def read_records(path: os.PathLike[str] | str) -> list[dict[str, Any]]:
    """Return the whole lines of a file; none if there is no file."""
    records = []
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    for line in lines:
        try:
            records.append(json.loads(line))
        except ValueError:
            break
    return records


def trim_records(path: os.PathLike[str] | str, *, iteration: int) -> None:
    """Drop what was recorded after an iteration, as a resumed run records it again."""
    kept = [record for record in read_records(path) if record["iteration"] <= iteration]
    write_text(path, "".join(json.dumps(record) + "\n" for record in kept))


def draw_progress(
    path: os.PathLike[str] | str, records: Sequence[Mapping[str, Any]], *, names: Mapping[int, str]
) -> None:
    """Draw training loss, validation Dice and restoration loss over the iterations as a PNG.

    Parameters
    ----------
    path : path
        File to write.
    records : sequence of dict
        From `read_records`. None gives an empty picture.
    names : mapping of int to str
        Name of each label id, for the legend.
    """
    # Figure without pyplot: no global state, no display.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 6), layout="constrained")
    loss_axes, dice_axes = figure.subplots(2, 1, sharex=True)
    steps = [record["iteration"] for record in records]
    loss_axes.plot(steps, [record["loss"] for record in records], color="tab:blue")
    loss_axes.set_ylabel("training loss")
    restored = [record for record in records if record.get("restoration") is not None]
    if restored:
        loss_axes.plot(
            [record["iteration"] for record in restored],
            [record["restoration"] for record in restored],
            color="tab:orange",
            marker=".",
            label="validation",
        )
        loss_axes.legend(fontsize="small")
    validated = [record for record in records if record.get("dice")]
    steps = [record["iteration"] for record in validated]
    for label, name in names.items():
        values = [record["dice"].get(str(label)) for record in validated]
        if any(value is not None for value in values):
            curve = [float("nan") if value is None else value for value in values]
            dice_axes.plot(steps, curve, label=name, marker=".")
    dice_axes.set(xlabel="iteration", ylabel="validation Dice", ylim=(0, 1))
    if dice_axes.lines:
        dice_axes.legend(fontsize="small", ncols=3)
    for axes in (loss_axes, dice_axes):
        axes.grid(alpha=0.3)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=100)
