"""One pair of files, scored as official scripts do; runs in the peers' interpreter.

``python metrics_files_peer.py PREDICTION REFERENCE LABEL=TOLERANCE_MM ...``: nibabel's
``get_fdata``, a cast to uint8, surface-distance label by label, scores rounded to 4 decimals.
"""

from __future__ import annotations

import sys

import nibabel
import numpy as np
from metrics_sides import Case, surface_distance


def main() -> int:
    files = [nibabel.load(path) for path in sys.argv[1:3]]
    prediction, reference = (file.get_fdata().astype(np.uint8) for file in files)
    tolerances = dict(argument.split("=") for argument in sys.argv[3:])
    case = Case(
        prediction,
        reference,
        tuple(map(float, files[1].header.get_zooms())),
        {int(label): float(mm) for label, mm in tolerances.items()},
    )
    for label, scores in surface_distance(case, distances=False).items():
        print(label, round(scores["dsc"], 4), round(scores["nsd"], 4))
    return 0


if __name__ == "__main__":
    sys.exit(main())
