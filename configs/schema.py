"""One system, typed: the sections that its parts own, composed."""

import hashlib
import json
from typing import Literal

import yaml
from pydantic import Field

from configs.contract import ContractConfig
from configs.labelling import LabelQueueConfig
from configs.monitoring import MonitorConfig
from configs.releasing import ReleaseConfig
from configs.retraining import RetrainingConfig
from configs.serving import ServingConfig
from vision.data.config import DataConfig
from vision.evaluation.config import EvaluationConfig, GateConfig
from vision.export.config import ExportConfig
from vision.models.config import ModelConfig
from vision.package import Card, InputSpec
from vision.settings import Section
from vision.training.config import TrainingConfig


class SystemConfig(Section):
    """What one YAML in `configs/` says. `system` is the file's name; registered model and experiment carry it too."""

    system: str = Field(pattern=r"^[a-z][a-z0-9_]{1,48}$")
    title: str
    description: str = ""
    kind: Literal["classify"]
    semver: str = Field(default="0.1.0", pattern=r"^\d+\.\d+\.\d+$")
    data: DataConfig
    contract: ContractConfig = ContractConfig()
    input: InputSpec
    model: ModelConfig = ModelConfig()
    training: TrainingConfig
    evaluation: EvaluationConfig = EvaluationConfig()
    export: ExportConfig = ExportConfig()
    gate: GateConfig = GateConfig()
    serving: ServingConfig = ServingConfig()
    monitor: MonitorConfig = MonitorConfig()
    retraining: RetrainingConfig = RetrainingConfig()
    release: ReleaseConfig = ReleaseConfig()
    label_queue: LabelQueueConfig = LabelQueueConfig()
    cards: dict[str, Card] = {}


def config_sha(config: Section) -> str:
    """sha256 of a config, or of one section of it, as canonical JSON: equal values, equal hash."""
    values = config.model_dump(mode="json", by_alias=True)
    canonical = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def dump_yaml(config: SystemConfig) -> str:
    """The resolved config, every default written out, as the package's config.yaml."""
    values = config.model_dump(mode="json", by_alias=True)
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=120)
