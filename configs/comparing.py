"""What `compare_models` compares: architectures and seeds, on one split, under one budget each."""

from typing import Annotated

from pydantic import Field, model_validator

from vision.models.config import Architecture
from vision.settings import Section


class CompareConfig(Section):
    archs: Annotated[tuple[Architecture, ...], Field(min_length=2)] = ("resnet18", "mobilenet_v3_small")
    seeds: Annotated[tuple[int, ...], Field(min_length=1)] = (42,)
    """Of `training.seed`; with several, each architecture is trained once a seed, and figures are means."""
    cpu_seconds: Annotated[float, Field(gt=0)] | None = None
    """Of one training. One that would take longer by its measured pace gets fewer epochs in each of its stages; None: all."""
    sure: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """A model is worse than the best when a paired test is as sure of it as this."""

    @model_validator(mode="after")
    def each_once(self):
        for name in ("archs", "seeds"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(f"`{name}` names each once, got {list(values)}")
        return self
