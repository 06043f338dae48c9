"""What is made of a trained model beside its ONNX graph."""

from typing import Annotated

from pydantic import Field

from vision.settings import Section


class ExportConfig(Section):
    int8: bool = True
    """Also make `model.int8.onnx`: a quarter of the size; a server uses it by name, and only when it passed."""
    calibration_images: Annotated[int, Field(ge=16, le=10_000)] = 128
    """Training images whose activations set the ranges."""
    int8_max_drop: Annotated[float, Field(ge=0, lt=1)] = 0.01
    """Largest loss of recall of any class, on validation and test images together, that INT8 may bring."""
