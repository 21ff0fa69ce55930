"""What must be known of a case before its network: the key of its bytes, and its channels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from flare_infer.channels import read_channels
from flare_infer.inputs import CaseFiles, files_of
from flare_infer.label_writer import file_sha256
from flare_infer.report import CaseRecord, Report
from flare_io.policy import ReadPolicy
from flare_io.volume import Volume

__all__ = ["CaseInput", "read_case"]


@dataclass(frozen=True, eq=False)
class CaseInput:
    """A case that has been read, or need not be.

    Parameters
    ----------
    key : str
        SHA-256 over the input's bytes, the model and the settings.
    kept : bool
        Whether an earlier run's label map still holds.
    channels : list of Volume
        Empty for a case that is kept.
    """

    key: str
    kept: bool
    channels: list[Volume] = field(default_factory=list)

    def handed_over(self) -> Iterator[Volume]:
        """Yield the channels and forget them, so that the taker alone keeps them in memory."""
        while self.channels:
            yield self.channels.pop(0)


def read_case(case: CaseFiles, target: Path, report: Report, policy: ReadPolicy) -> CaseInput:
    """Read a case, unless what an earlier run wrote for it still holds.

    Parameters
    ----------
    case : CaseFiles
    target : Path
        Of the label map.
    report : Report
        Of the run; the case's record holds what is known from an earlier one. Not changed.
    policy : ReadPolicy

    Raises
    ------
    DataError, OSError
        From reading.

    Notes
    -----
    Cost beside reading: a pass over the files, and one over an earlier label map, for their
    SHA-256.
    """
    key = _key(case, report)
    if _holds(report.cases[case.id], key, target):
        return CaseInput(key, kept=True)
    return CaseInput(key, kept=False, channels=read_channels(case.paths, None, policy))


def _key(case: CaseFiles, report: Report) -> str:
    digest = hashlib.sha256()
    # The description counts as well as the weights: another spacing gives other labels.
    for part in (report.model["sha256"], repr(sorted(report.settings.items()))):
        digest.update(part.encode())
    for path in case.paths:
        for file in files_of(path):
            digest.update(file_sha256(file).encode())
    return digest.hexdigest()


def _holds(record: CaseRecord, key: str, target: Path) -> bool:
    if record.key != key:
        return False
    try:
        return file_sha256(target) == record.output_sha256
    except OSError:
        return False
