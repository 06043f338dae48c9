"""What a training begins with: the job, its data, and the model before the first step."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from configs.schema import SystemConfig
from tasks.stages import write_json
from vision.data.cache import ImageCache
from vision.data.label_share import labelled
from vision.kinds import answering, learning
from vision.kinds.base import Learning
from vision.models.network import IMAGENET_MEAN, IMAGENET_STD, ServedModel, save_model
from vision.models.weights import WeightsReport, load_champion, load_start
from vision.training.epoch import Plan
from vision.training.loaders import Loaders, SplitData
from vision.training.pretexts import Pretext
from vision.training.seeds import derived_seed
from vision.training.stages import stages_for
from vision.training.statistics import normalisation

START = "start.safetensors"
START_REPORT = "start.json"


@dataclass(frozen=True)
class ChampionStart:
    """weights: a package's model.safetensors. same_labels: as the training's, in order, so that the head fits too."""

    version: int
    weights: Path
    same_labels: bool


@dataclass(frozen=True)
class TrainJob:
    """One training. cache: folder with images.npy and rows.parquet. weights_root: folder with weight files by
    torchvision's names. pretrained: what a pre-training stage made, where `model.weights` asks for one. champion: what to go on from
    in place of `model.weights`. pretext: the task of a pre-training, in place of the kind's own; it has no validation.
    """

    config: SystemConfig
    labels: tuple[str, ...]
    cache: Path
    weights_root: Path | None = None
    pretrained: Path | None = None
    champion: ChampionStart | None = None
    pretext: Pretext | None = None

    @property
    def learning(self) -> Learning | Pretext:
        return self.pretext or learning(self.config.kind)


def build_model(job: TrainJob) -> ServedModel:
    """The job's network, random, with ImageNet's normalisation; `load_model` puts the real one in."""
    config = job.config
    seed = derived_seed(config.training.seed, "network")
    network = job.learning.network(config.model, job.labels, seed, config.input.side_px)
    outputs = job.pretext.outputs if job.pretext else answering(config.kind).outputs
    return ServedModel(network, outputs, IMAGENET_MEAN, IMAGENET_STD)


def load_or_make_start(job: TrainJob, folder: Path) -> WeightsReport:
    """Writes `folder`/start.safetensors, then start.json; where both are, a broken training goes on with them.

    Made once by the driver, so workers need neither network nor weight files, and all begin alike.
    """
    report_file = folder / START_REPORT
    if report_file.is_file():
        return WeightsReport.model_validate_json(report_file.read_text())
    model = build_model(job)
    report = _load_weights(model, job)
    cache = ImageCache.open(job.cache)
    mean, std = normalisation(job.config.model, cache.images, cache.indices("train"))
    started = ServedModel(model.network, model.outputs, mean, std)
    save_model(started, folder / START)
    write_json(report_file, report.model_dump(mode="json"))
    return report


def _load_weights(model: ServedModel, job: TrainJob) -> WeightsReport:
    if job.champion is None:
        return load_start(model.network.backbone, job.config.model, job.weights_root, job.pretrained)
    return load_champion(model.network, job.config.model, job.champion.weights, job.champion.same_labels)


def plan_of(job: TrainJob, weights: WeightsReport) -> Plan:
    config = job.config
    return Plan(
        learning=job.learning,
        labels=tuple(job.labels),
        input=config.input,
        config=config.training,
        stages=stages_for(config.training, weights.origin == "random"),
        views=job.pretext.views if job.pretext else 1,
    )


def loaders_of(job: TrainJob) -> Loaders:
    """The training and validation split of the cache, with targets. Images stay in the memory map."""
    cache = ImageCache.open(job.cache)

    def split(indices: np.ndarray) -> SplitData:
        return SplitData(cache.images, indices, job.learning.targets(cache.rows.iloc[indices], job.labels))

    validation = cache.indices("val")[:0] if job.pretext else cache.indices("val")
    return Loaders(train=split(labelled_images(cache, job.config)), val=split(validation))


def labelled_images(cache: ImageCache, config: SystemConfig) -> np.ndarray:
    """int64: the rows of the training split whose labels count and that the kind learns from."""
    indices, training = cache.indices("train"), config.training
    indices = indices[learning(config.kind).learns_from(cache.rows.iloc[indices])]
    return indices[labelled(cache.rows.iloc[indices], training.label_share, training.seed)]
