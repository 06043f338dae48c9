"""One system, typed: the sections that its parts own, composed."""

import hashlib
import json
from typing import Any

import yaml
from pydantic import Field, model_validator

from configs.comparing import CompareConfig
from configs.contract import ContractConfig
from configs.labelling import LabelQueueConfig
from configs.monitoring import MonitorConfig
from configs.releasing import ReleaseConfig
from configs.retraining import RetrainingConfig
from configs.serving import ServingConfig
from configs.tracking import TrackingConfig
from configs.tuning import TuningConfig, check_space
from vision.data.config import DataConfig
from vision.evaluation.config import EvaluationConfig, GateConfig
from vision.export.config import ExportConfig
from vision.kinds import Kind, answering
from vision.models.config import PRETRAINED, ModelConfig
from vision.package import Card, InputSpec
from vision.settings import Section
from vision.training.config import TrainingConfig
from vision.training.pretraining import PretrainingConfig


class SystemConfig(Section):
    """What one YAML in `configs/` says. `system` is the file's name; registered model and experiment carry it too."""

    system: str = Field(pattern=r"^[a-z][a-z0-9_]{1,48}$")
    title: str
    description: str = ""
    kind: Kind
    semver: str = Field(default="0.1.0", pattern=r"^\d+\.\d+\.\d+$")
    data: DataConfig
    contract: ContractConfig = ContractConfig()
    input: InputSpec
    model: ModelConfig = ModelConfig()
    pretraining: PretrainingConfig | None = None
    """Given exactly when `model.weights` is made by one; its `method` is by default what `model.weights` says."""
    training: TrainingConfig
    tuning: TuningConfig | None = None
    """Given: a search comes before the training, which takes what it found."""
    compare: CompareConfig = CompareConfig()
    tracking: TrackingConfig = TrackingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    export: ExportConfig = ExportConfig()
    gate: GateConfig = GateConfig()
    serving: ServingConfig = ServingConfig()
    monitor: MonitorConfig = MonitorConfig()
    retraining: RetrainingConfig = RetrainingConfig()
    release: ReleaseConfig = ReleaseConfig()
    label_queue: LabelQueueConfig = LabelQueueConfig()
    cards: dict[str, Card] = {}

    @model_validator(mode="after")
    def kind_can_work_by_it(self):
        answering(self.kind).check(self)
        return self

    @model_validator(mode="after")
    def starts_from_another_system(self):
        if self.model.system == self.system:
            raise ValueError(f"model.system must be another system, got {self.system} itself")
        return self

    @model_validator(mode="after")
    def gate_holds_slices_that_there_are(self):
        if unknown := sorted(set(self.gate.slices) - set(self.evaluation.slices)):
            known = ", ".join(self.evaluation.slices) or "none"
            raise ValueError(f"gate.slices names {', '.join(unknown)}; evaluation.slices has {known}")
        return self

    @model_validator(mode="after")
    def tuning_tries_what_is_allowed(self):
        if self.tuning is not None:
            check_space(self.tuning, self.model, self.training)
        return self

    @model_validator(mode="before")
    @classmethod
    def pretraining_has_a_method(cls, values: Any) -> Any:
        section = values.get("pretraining") if isinstance(values, dict) else None
        if not isinstance(section, dict) or "method" in section:
            return values
        model = values.get("model")
        weights = model.get("weights") if isinstance(model, dict) else None
        return {**values, "pretraining": {"method": weights if weights in PRETRAINED else PRETRAINED[0], **section}}

    @model_validator(mode="after")
    def pretraining_is_what_the_model_starts_from(self):
        method = self.pretraining.method if self.pretraining else None
        if (self.model.weights if self.model.weights in PRETRAINED else None) != method:
            section = "none" if method is None else f"one of {method}"
            raise ValueError(
                f"a section `pretraining` goes with model.weights {' or '.join(PRETRAINED)}, and with nothing else; "
                f"got weights {self.model.weights} and {section}"
            )
        views_px = self.pretraining.side_px if self.pretraining else None
        most_px = self.input.side_px if self.input.crop == "squash" else self.input.resize_px
        if views_px is not None and views_px > most_px:
            raise ValueError(f"pretraining.side_px must be at most {most_px}, which the cache stores, got {views_px}")
        return self


def config_sha(config: Section) -> str:
    """sha256 of a config, or of one section of it, as canonical JSON: equal values, equal hash."""
    values = config.model_dump(mode="json", by_alias=True)
    canonical = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def dump_yaml(config: SystemConfig) -> str:
    """The resolved config, every default written out, as the package's config.yaml."""
    values = config.model_dump(mode="json", by_alias=True)
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=120)
