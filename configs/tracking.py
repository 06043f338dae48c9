"""Where a training's figures go beside MLflow, which always has them."""

from typing import Literal

from pydantic import field_validator

from vision.settings import Section


class TrackingConfig(Section):
    loggers: tuple[Literal["tensorboard", "wandb"], ...] = ()
    """tensorboard: event files in the system's folder. wandb: Weights & Biases, offline; `wandb sync` sends what it wrote."""

    @field_validator("loggers")
    @classmethod
    def each_logger_once(cls, loggers: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(loggers)) < len(loggers):
            raise ValueError(f"each logger once, got {list(loggers)}")
        return loggers
