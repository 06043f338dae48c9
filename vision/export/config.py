"""What is made of a trained model beside its ONNX graph."""

from typing import Annotated

from pydantic import Field

from vision.settings import Section


class ExportConfig(Section):
    int8: bool = True
    """Also make `model.int8.onnx`: a quarter of the size; a server uses it by name, and only when it passed."""
    calibration_images: Annotated[int, Field(ge=16, le=10_000)] = 256
    """Training images whose activations set the ranges and whose mean embedding INT8 keeps."""
    int8_max_drop: Annotated[float, Field(ge=0, lt=1)] = 0.01
    """Largest loss of recall of any class that INT8 may bring: refused where more is seen on validation and test images
    together, and not by chance (`vision/export/class_loss.py`); to prove 0.01 takes 299 images of each class."""
