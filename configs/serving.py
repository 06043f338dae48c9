"""How a system is served."""

from typing import Annotated, Literal

from pydantic import Field

from vision.settings import Section


class ServingConfig(Section):
    top_k: Annotated[int, Field(ge=1, le=100)] = 3
    engine: Literal["onnxruntime"] = "onnxruntime"
    threads: Annotated[int, Field(ge=0, le=256)] = 0
    """Inference threads of one worker; 0: the engine's own choice."""
    max_body_mib: Annotated[float, Field(gt=0)] = 20.0
    max_megapixels: Annotated[float, Field(gt=0)] = 50.0
