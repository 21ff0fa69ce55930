"""A module of 3D Slicer: the volume that is shown becomes a segmentation.

Install flare-infer into Slicer once, ``slicer.util.pip_install("flare-infer")``, and add this
folder under Edit, Application Settings, Modules, Additional module paths.
"""

import ctk
import numpy as np
import qt
import slicer
import vtk
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleWidget,
)


class FlareSegment(ScriptedLoadableModule):
    """What Slicer lists."""

    def __init__(self, parent):
        super().__init__(parent)
        parent.title, parent.categories = "Flare Segment", ["Segmentation"]


class FlareSegmentWidget(ScriptedLoadableModuleWidget):
    """A field for the model folder and a button."""

    def setup(self):
        """Build the panel."""
        super().setup()
        self.model = ctk.ctkPathLineEdit()
        button = qt.QPushButton("Segment the volume that is shown")
        button.connect("clicked()", self.segment)
        self.layout.addWidget(self.model)
        self.layout.addWidget(button)

    def segment(self):
        """Segment the background volume of the red view."""
        red = slicer.app.layoutManager().sliceWidget("Red").sliceLogic().GetSliceCompositeNode()
        volume = slicer.mrmlScene.GetNodeByID(red.GetBackgroundVolumeID())
        FlareSegmentLogic().segment(volume, self.model.currentPath)


class FlareSegmentLogic(ScriptedLoadableModuleLogic):
    """What the button does, for scripts as well."""

    def segment(self, volume, model):
        """Return a new segmentation node of a volume node."""
        from flare_infer import Predictor
        from flare_io import Geometry

        matrix = vtk.vtkMatrix4x4()
        volume.GetIJKToRASMatrix(matrix)
        # From i, j, k to L, P and S; flare-io counts both the other way around.
        affine = np.diag([-1, -1, 1, 1]) @ slicer.util.arrayFromVTKMatrix(matrix)
        axes = affine[:3, :3][::-1, ::-1]
        spacing = np.linalg.norm(axes, axis=0)
        geometry = Geometry(tuple(spacing), tuple(affine[:3, 3][::-1]), axes / spacing)
        labels = Predictor.load(model).predict(slicer.util.arrayFromVolume(volume), geometry)
        node = slicer.util.addVolumeFromArray(
            labels.array, matrix, volume.GetName() + " labels", "vtkMRMLLabelMapVolumeNode"
        )
        segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
        slicer.modules.segmentations.logic().ImportLabelmapToSegmentationNode(node, segmentation)
        slicer.mrmlScene.RemoveNode(node)
        return segmentation
