"""Which prediction belongs to which reference."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from flare_metrics.errors import UnreadableFileError
from flare_metrics.files import case_name
from flare_metrics.protocols import Protocol

__all__ = ["Pair", "find_pairs", "looked_at"]

_OFFICIAL = ".nii.gz"
# Images carry their channel in this; predictions and references do not.
_CHANNEL = "_0000"


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The files of one case.

    Parameters
    ----------
    case : str
        Their name without suffix.
    predictions, references : tuple of Path
        More than one means that several formats offer the same case; empty where there is none.
    hint : str
        Why there may be none.
    """

    case: str
    predictions: tuple[Path, ...] = ()
    references: tuple[Path, ...] = ()
    hint: str = ""


def find_pairs(predictions: Path, references: Path, protocol: Protocol) -> list[Pair]:
    """Match the label maps of two folders by name.

    Parameters
    ----------
    predictions, references : Path
        Folders; what is no label map is ignored.
    protocol : Protocol
        Its ``match`` decides whether the suffix counts, its ``loop`` what is said of a case that
        is in one folder only.

    Returns
    -------
    list of Pair
        References first, then predictions without reference; each sorted by name.

    Raises
    ------
    UnreadableFileError
        If a folder does not exist, or there is no reference.
    """
    true, true_ignored = _label_maps(references, "references", protocol)
    offered, ignored = _label_maps(predictions, "predictions", protocol)
    if not true and not true_ignored:
        raise UnreadableFileError(
            references, "references must hold label maps", found="none", kind="empty"
        )
    pairs = []
    for case in sorted({*true, *true_ignored}):
        files = true.get(case, true_ignored.get(case, ()))
        hint = "" if case in offered else _hint(case, offered, ignored, "prediction", protocol)
        pairs.append(
            Pair(case=case, predictions=offered.get(case, ()), references=files, hint=hint)
        )
    for case in sorted({*offered, *ignored} - {*true, *true_ignored}):
        files = offered.get(case, ignored.get(case, ()))
        hint = _hint(case, true, true_ignored, "reference", protocol)
        pairs.append(Pair(case=case, predictions=files, hint=hint))
    return pairs


def looked_at(path: Path, protocol: Protocol) -> bool:
    """Whether a protocol takes a file of this name at all."""
    return protocol.match == "case" or path.name.endswith(_OFFICIAL)


_Files = dict[str, tuple[Path, ...]]


def _label_maps(folder: Path, role: str, protocol: Protocol) -> tuple[_Files, _Files]:
    """Return the label maps of a folder by case, and those that the protocol does not look at."""
    if not folder.is_dir():
        raise UnreadableFileError(folder, f"{role} must be a folder", kind="unreadable")
    found: _Files = {}
    ignored: _Files = {}
    for path in sorted(folder.iterdir()):
        case = case_name(path)
        # A dangling link or a folder of such a name is a case that fails, not one less.
        if case is None or not (path.is_file() or path.is_dir() or path.is_symlink()):
            continue
        files = found if looked_at(path, protocol) else ignored
        files[case] = (*files.get(case, ()), path)
    return found, {case: files for case, files in ignored.items() if case not in found}


def _hint(case: str, others: _Files, ignored: _Files, role: str, protocol: Protocol) -> str:
    """Say why a case may lack its counterpart, and what an official script makes of that."""
    hints = []
    if case in ignored:
        hints.append(f"{ignored[case][0].name} is not looked at, only {_OFFICIAL} files are")
    near = case.removesuffix(_CHANNEL) if case.endswith(_CHANNEL) else case + _CHANNEL
    if near in others:
        hints.append(f"{others[near][0].name} differs by {_CHANNEL}, which images alone carry")
    if protocol.missing_prediction == "unscored":
        stops = (protocol.loop == "references") == (role == "prediction")
        hints.append(
            "the official script stops here" if stops else "the official script leaves it out"
        )
    return "; ".join(hints)
