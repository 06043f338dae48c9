"""What is measured of a trained model, and what the gate asks of it."""

from typing import Annotated

from pydantic import Field

from vision.settings import Section


class EvaluationConfig(Section):
    bootstrap_samples: Annotated[int, Field(ge=100, le=100_000)] = 1000
    interval: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    confident_at: Annotated[float, Field(ge=0, le=1)] = 0.70
    """Calibrated top probability from which an answer counts as confident."""
    grid_images: Annotated[int, Field(ge=4, le=100)] = 25
    latency_runs: Annotated[int, Field(ge=5, le=10_000)] = 50
    latency_warmup_runs: Annotated[int, Field(ge=1)] = 5
    limitations: tuple[str, ...] = ()


class GateConfig(Section):
    """`minimum` and `maximum` name metrics of metrics.json. The champion is met on the same test images, paired."""

    minimum: dict[str, float] = {}
    maximum: dict[str, float] = {}
    min_class_recall: Annotated[float, Field(ge=0, le=1)] = 0.0
    significance: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Of the paired tests against the champion; over classes with Holm's correction."""
    max_drop: Annotated[float, Field(ge=0, lt=1)] = 0.01
    """Largest drop of the headline metric against the champion that is still let through."""
    max_class_drop: Annotated[float, Field(ge=0, lt=1)] = 0.10
