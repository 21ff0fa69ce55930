"""The fusion of a voxel as C, for a device: the text of one kernel that does it all.

A kernel reads every source once, looks the combination of labels up, writes the label and on
request its origin, and counts combinations. Packed kernels take eight voxels of a byte each at a
time. The text keeps to what C and CUDA share, so that it can be compiled and tested without a
device.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from flare_fusion.rules import Source
from flare_fusion.tables import FusionTable

__all__ = ["KernelText", "class_offsets", "fusion_kernel"]

# Of one thread; its body is in the braces.
_BODY = """
label = ({unit}) {background};
{clear_origin}
if ({busy}) {{
    unsigned long long fused = 0;
    unsigned long long from = 0;
    unsigned long long run = 0;
    int last = 0;
    for (int k = 0; k < {width}; ++k) {{
        int cell = 0;
        long long held;
{look_up}
        fused |= (unsigned long long) labels[cell] << (8 * k);
        {take_origin}
        if (cell != last) {{
            {count}
            last = cell;
            run = 0;
        }}
        ++run;
    }}
    {count}
    label = ({unit}) fused;
    {set_origin}
}}
"""
_KNOWN = """\
        held = {held};
        if (held < 0 || held > {highest}) {{ counts[0] = 1; }}
        else {{ cell += (int) held * {stride}; }}
"""
_SOUGHT = """\
        held = {held};
        if (held < 0 || held > {highest} || offsets[{start} + held] < 0) {{ counts[0] = 1; }}
        else {{ cell += offsets[{start} + held]; }}
"""
_C_TYPES = {
    "uint8": "unsigned char",
    "uint16": "unsigned short",
    "uint32": "unsigned int",
    "uint64": "unsigned long long",
}
_PACKED = 8


@dataclass(frozen=True, kw_only=True)
class KernelText:
    """What `cupy.ElementwiseKernel` takes.

    Parameters
    ----------
    inputs : str
        ``source0``, ``source1``, ... by element, then whole (``raw``) the tables ``offsets``,
        ``labels`` and, with provenance, ``origins``.
    outputs : str
        ``label``, with provenance ``origin``, by element, then whole ``counts``: voxels of each
        cell but the first, which is set to 1 where a source holds an unknown label.
    body : str
    name : str
    """

    inputs: str
    outputs: str
    body: str
    name: str


@lru_cache(maxsize=256)
def fusion_kernel(
    table: FusionTable,
    types: tuple[str, ...],
    *,
    packed: bool = False,
    provenance: bool = False,
    agreement: bool = False,
) -> KernelText:
    """Return the kernel for a table.

    Parameters
    ----------
    table : FusionTable
    types : tuple of str
        NumPy's names of the sources' types.
    packed : bool
        An element is eight voxels, the first in the lowest byte; sources and labels must be
        unsigned bytes.
    provenance, agreement : bool
        Write origins; count combinations.
    """
    width = _PACKED if packed else 1
    word = "uint64"
    out = word if packed else table.labels.dtype.name
    names = [f"source{number}" for number in range(len(types))]
    given = [f"{word if packed else kind} {name}" for kind, name in zip(types, names, strict=True)]
    tables = ["raw int32 offsets", f"raw {table.labels.dtype.name} labels"]
    origin_unit = word if packed else "uint8"
    first_label, first_origin = int(table.labels.flat[0]), int(table.origins.flat[0])
    add = "if (last) { atomicAdd(&counts[last], run); }" if agreement else ""
    cleared = f"origin = ({_C_TYPES[origin_unit]}) {_repeated(first_origin, width)};"
    body = _BODY.format(
        unit=_C_TYPES[out],
        background=_repeated(first_label, width),
        clear_origin=cleared if provenance else "",
        busy=" || ".join(f"{name} != 0" for name in names),
        width=width,
        look_up=_look_up(table, names, packed=packed),
        take_origin="from |= (unsigned long long) origins[cell] << (8 * k);" if provenance else "",
        count=add,
        set_origin=f"origin = ({_C_TYPES[origin_unit]}) from;" if provenance else "",
    )
    return KernelText(
        inputs=", ".join([*given, *tables, *(["raw uint8 origins"] if provenance else [])]),
        outputs=", ".join(
            [
                f"{out} label",
                *([f"{origin_unit} origin"] if provenance else []),
                "raw uint64 counts",
            ]
        ),
        body=body,
        name="flare_fuse",
    )


def class_offsets(table: FusionTable) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    """Return by source and label what it adds to the cell number; -1 for an unknown label."""
    found = []
    for source, stride in zip(table.sources, _strides(table), strict=True):
        offsets = np.full(max(source.labels) + 1, -1, np.int32)
        # Labels that do not matter to the rule are background to it.
        offsets[list(source.labels)] = 0
        offsets[list(source.classes)] = np.arange(len(source.classes)) * stride
        found.append(offsets)
    return np.concatenate(found)


def _look_up(table: FusionTable, names: list[str], *, packed: bool) -> str:
    start, lines = 0, []
    for source, stride, name in zip(table.sources, _strides(table), names, strict=True):
        held = f"(long long) (({name} >> (8 * k)) & 255)" if packed else f"(long long) {name}"
        text = _KNOWN if _counts_up(source) else _SOUGHT
        highest = max(source.labels)
        lines.append(text.format(held=held, highest=highest, stride=stride, start=start))
        start += highest + 1
    return "".join(lines)


def _counts_up(source: Source) -> bool:
    return source.classes == tuple(range(max(source.labels) + 1))


def _strides(table: FusionTable) -> list[int]:
    return [int(stride) for stride in np.cumprod([1, *table.labels.shape[:0:-1]])[::-1]]


def _repeated(value: int, width: int) -> str:
    """Return the number that holds a byte ``width`` times."""
    return f"{sum(value << (8 * k) for k in range(width))}ULL"
