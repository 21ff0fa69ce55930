"""A segmentation service: POST a scan as .nii.gz, get its label map as .nii.gz.

``FLARE_MODEL=model uvicorn service:app``, then ``curl --data-binary @scan.nii.gz
http://localhost:8000/segment -o labels.nii.gz``.
"""

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

from fastapi import Body, FastAPI, HTTPException, Response

from flare_infer import Predictor
from flare_io import write_label_map
from flare_io.errors import DataError

app = FastAPI()
predictor = Predictor.load(os.environ["FLARE_MODEL"], memory_mib=8192)


@app.post("/segment")
def segment(scan: Annotated[bytes, Body(media_type="application/gzip")]) -> Response:
    """Return the label map on the scan's own grid; 422 says what is wrong with a scan."""
    with TemporaryDirectory() as folder:
        source, target = Path(folder, "scan.nii.gz"), Path(folder, "labels.nii.gz")
        source.write_bytes(scan)
        try:
            write_label_map(predictor.predict(source), target)
        except (DataError, ValueError, MemoryError) as error:
            raise HTTPException(422, str(error).replace(str(source), "scan")) from error
        return Response(target.read_bytes(), media_type="application/gzip")
