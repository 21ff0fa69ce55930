"""An operator for MONAI Deploy: an image in memory in, labels in memory out.

It stands between ``DICOMSeriesToVolumeOperator`` and ``DICOMSegmentationWriterOperator``.
"""

from typing import Any

import numpy as np
from monai.deploy.core import Image, Operator

from flare_infer import Predictor
from flare_io import Geometry


class FlareOperator(Operator):
    """Segments the input ``image`` with a model folder; emits ``seg_image``."""

    def __init__(self, fragment: Any, *args: Any, model: str, **kwargs: Any) -> None:
        self.predictor = Predictor.load(model)
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: Any) -> None:
        """Name the ports."""
        spec.input("image")
        spec.output("seg_image")

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        """Segment one image."""
        image = op_input.receive("image")
        # From columns, rows and slices to L, P and S; flare-io counts both the other way around.
        affine = np.asarray(image.metadata()["dicom_affine_transform"])
        axes = affine[:3, :3][::-1, ::-1]
        spacing = np.linalg.norm(axes, axis=0)
        geometry = Geometry(tuple(spacing), tuple(affine[:3, 3][::-1]), axes / spacing)
        labels = self.predictor.predict(image.asnumpy(), geometry)
        op_output.emit(Image(labels.array, image.metadata()), "seg_image")
