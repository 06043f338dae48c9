"""Which settings of a training are searched for, how far, and what a set of them makes of a config."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from vision.models.config import ModelConfig
from vision.settings import Section
from vision.training.config import TrainingConfig

if TYPE_CHECKING:
    from configs.schema import SystemConfig

RATES = "lr_scale"
Tunable = Literal[
    "lr_scale", "training.batch_size", "training.label_smoothing", "training.clip_norm", "training.schedule",
    "training.optimizer.name", "training.optimizer.weight_decay", "training.optimizer.momentum", "model.dropout",
]  # fmt: skip
"""Keys of the config, and `lr_scale`: a factor of the rates of all stages. None changes what tensors a network has, so that
all trials start from the same weights."""
Value = bool | int | float | str
GOLDEN_CUT = 0.381966
"""A place inside a range where a whole number, or a value in steps, would be seen not to fit."""


class Range(Section):
    """Ends included. `log_float`: as likely between 0.001 and 0.01 as between 0.01 and 0.1."""

    type: Literal["float", "log_float"]
    low: float
    high: float

    @model_validator(mode="after")
    def low_comes_first(self):
        if self.high <= self.low or (self.type == "log_float" and self.low <= 0):
            above = "above 0 and " if self.type == "log_float" else ""
            raise ValueError(f"`low` must be {above}below `high`, got {self.low:g} and {self.high:g}")
        return self

    def probes(self) -> list[Value]:
        return [self.low, self.high, self.low + GOLDEN_CUT * (self.high - self.low)]

    def holds(self, value: Any) -> bool:
        return isinstance(value, int | float) and self.low <= value <= self.high


class Whole(Section):
    """Whole numbers, both ends included."""

    type: Literal["int"]
    low: int
    high: int

    @model_validator(mode="after")
    def low_comes_first(self):
        if self.high <= self.low:
            raise ValueError(f"`low` must be below `high`, got {self.low} and {self.high}")
        return self

    def probes(self) -> list[Value]:
        return [self.low, self.high]

    def holds(self, value: Any) -> bool:
        return isinstance(value, int) and self.low <= value <= self.high


class Choice(Section):
    type: Literal["choice"]
    values: Annotated[tuple[Value, ...], Field(min_length=2)]

    def probes(self) -> list[Value]:
        return list(self.values)

    def holds(self, value: Any) -> bool:
        return value in self.values


Domain = Annotated[Range | Whole | Choice, Field(discriminator="type")]


class TuningConfig(Section):
    """Trials of one training on its own cache, judged on the validation split. The first trial is the config as it is, so
    that what is found is better than that, or is that."""

    space: Annotated[dict[Tunable, Domain], Field(min_length=1)]
    trials: Annotated[int, Field(ge=2, le=1000)] = 12
    search: Literal["optuna", "random"] = "optuna"
    """optuna: its TPE sampler (Bergstra et al. 2011), which learns from the trials before."""
    max_epochs: Annotated[int, Field(ge=1)] | None = None
    """Of a trial that is not stopped: its stages are shortened alike, so that their schedules end. None: as they are."""
    grace_epochs: Annotated[int, Field(ge=1)] = 2
    """No trial is stopped before (ASHA, Li et al. 2020)."""
    reduction_factor: Annotated[int, Field(ge=2, le=10)] = 3
    """At each rung the best one in so many goes on."""
    seed: int = 42
    budget_s: Annotated[float, Field(gt=0)] | None = None
    """Wall-clock seconds; then the best so far is taken."""
    cpus_per_trial: Annotated[int, Field(ge=1)] = 1
    """As many trials run beside each other as there are cores for: one core each wastes none on waiting."""
    gpus_per_trial: Annotated[float, Field(ge=0, le=8)] | None = None
    """None: one where there is one. A half lets two trials share one."""


def overridden(config: "SystemConfig", values: Mapping[str, Value]) -> "SystemConfig":
    """`config` with the values of one trial, by the keys of `Tunable`. Raises `pydantic.ValidationError`."""
    model, training = sections_with(config.model, config.training, values)
    return config.model_copy(update={"model": model, "training": training})


def sections_with(
    model: ModelConfig, training: TrainingConfig, values: Mapping[str, Value]
) -> tuple[ModelConfig, TrainingConfig]:
    dumped = {"model": model.model_dump(mode="json"), "training": training.model_dump(mode="json")}
    for key, value in values.items():
        if key == RATES:
            _scale_rates(dumped["training"], float(value))
            continue
        *path, last = key.split(".")
        place = dumped
        for part in path:
            place = place[part]
        place[last] = value
    return ModelConfig.model_validate(dumped["model"]), TrainingConfig.model_validate(dumped["training"])


def own_values(space: Mapping[str, Domain], model: ModelConfig, training: TrainingConfig) -> dict[str, Value | None]:
    """What the config itself says at the keys of `space`."""
    dumped: dict[str, Any] = {"model": model.model_dump(mode="json"), "training": training.model_dump(mode="json")}
    found: dict[str, Value | None] = {}
    for key in space:
        place: Any = dumped
        for part in () if key == RATES else key.split("."):
            place = place[part]
        found[key] = 1.0 if key == RATES else place
    return found


def check_space(tuning: TuningConfig, model: ModelConfig, training: TrainingConfig) -> None:
    """Raises `ValueError` for a value that the config would refuse, or a range that the config's own value is not in."""
    own = own_values(tuning.space, model, training)
    for key, domain in tuning.space.items():
        if not domain.holds(own[key]):
            raise ValueError(f"tuning.space.{key} must hold the config's own value, {own[key]!r}, which is tried first")
        for value in domain.probes():
            try:
                sections_with(model, training, {key: value})
            except ValidationError as error:
                why = "; ".join(detail["msg"] for detail in error.errors())
                raise ValueError(f"tuning.space.{key} would try {value!r}: {why}") from None


def _scale_rates(training: dict[str, Any], factor: float) -> None:
    for field in ("stages", "stages_from_scratch"):
        for stage in training[field]:
            for rate in ("lr", "backbone_lr"):
                if stage[rate] is not None:
                    stage[rate] *= factor
