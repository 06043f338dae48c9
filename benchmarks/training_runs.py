"""A whole two-phase run, ours on Ray and the earlier systems' by hand, from one backbone on the same images, in turns.

Phase `head` trains the head on a frozen backbone, phase `top` the last block too (the stages of configs/tomato_leaf.yaml).
The backbone was trained by our own code on leaves drawn with another seed, which is not counted.

ours       as tomato_leaf has it set: of four augmented views of each image, and of the validation images, is made once what the frozen
           layers make of them (vision.training.kept).
fresh      ours with a new view of each image in each epoch, through all layers.
plain      benchmarks.plain_two_phase, which augments anew in each epoch too.

Ours counts what such a run needs: the image cache filled by one process, Ray's start and end, the precision probe, an epoch's
checkpoints. Neither counts imports of the main process, nor the judging of test images.
"""

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from benchmarks.plain_loops import cpu_seconds
from benchmarks.plain_two_phase import Files, judged, train_plainly
from benchmarks.ray_cpu import RayCpu
from benchmarks.two_phase_summary import Run, Truth, show, summary, verdict
from configs.load import load_system
from configs.schema import SystemConfig
from tasks.cluster.session import ensure_ray

if TYPE_CHECKING:
    from tasks.cluster.train import FitReport
    from tasks.training.start import TrainJob

START_SEED = 1007
QUICK_PX = 112
"""What the quickstart's network sees."""
VIEWS = 4
SPLIT = {"train": 0.4, "val": 0.1, "test": 0.5}
"""Half to test on: equal accuracy is the condition of the comparison, and few images could not show a difference."""


@dataclass(frozen=True)
class Data:
    """folder: of the images. rows: the splits table. backbone: the file that both start from."""

    folder: Path
    rows: pd.DataFrame
    labels: tuple[str, ...]
    config: SystemConfig
    backbone: Path

    def files(self, split: str) -> Files:
        rows = self.rows[self.rows["split"] == split]
        targets = pd.Index(self.labels).get_indexer(rows["label"])
        return Files([self.folder / path for path in rows["path"]], targets)

    @property
    def truth(self) -> Truth:
        families = self.rows.loc[self.rows["split"] == "test", "family"].to_numpy()
        return Truth(self.files("test").targets, families, len(self.labels))


def two_phase(work: Path, images: int, epochs: tuple[int, int], rounds: int, side_px: int = QUICK_PX) -> dict[str, Any]:
    """images: of a class, to train and validate on; as many again to test on. epochs: of phase `head`, of phase `top`.
    side_px: of what the network sees."""
    data = make_start(work, images, epochs, side_px)
    arms = {"ours": run_ours, "plain": run_plainly, "fresh": partial(run_ours, views=None)}
    found: dict[str, list[Run]] = {name: [] for name in arms}
    for number in range(rounds):
        for name, run in arms.items():
            found[name].append(run(work / f"{name}{number}", data, number))
        print(f"two-phase run {number + 1}: " + show(found, data.truth), flush=True)
    result = summary(found, data.truth)
    print(verdict(result), flush=True)
    return result


def make_start(work: Path, images: int, epochs: tuple[int, int], side_px: int = QUICK_PX) -> Data:
    """Draws both sets and trains the backbone: twice as many epochs from scratch as phase `head` has."""
    from tasks.training.pretrain import BACKBONE, keep_backbone
    from tasks.training.start import TrainJob

    scratch = {"name": "scratch", "epochs": 2 * epochs[0], "trainable": "all", "lr": 2e-3, "warmup_epochs": 1}
    other = {**sizes(side_px), "data.source.seed": START_SEED, "data.source.images_per_class": images}
    config = load_system("quickstart", {**other, "training.stages_from_scratch": [scratch]})
    rows = draw(config, work / "start_data")
    fill(work / "start_cache", work / "start_data", rows, config)
    labels = tuple(sorted(rows["label"].unique()))
    on_own_ray(TrainJob(config=config, labels=labels, cache=work / "start_cache"), work / "start")
    keep_backbone(work / "start")
    backbone = work / "start" / BACKBONE
    config = two_phase_system(backbone, 2 * images, epochs, side_px)
    return Data(work / "two_phase_data", draw(config, work / "two_phase_data"), labels, config, backbone)


def sizes(side_px: int) -> dict[str, int]:
    """The quickstart's for its own 112; at 224 as usual: files of 256 px, of which the network sees the middle 224."""
    resize_px = side_px * 8 // 7
    return {"input.side_px": side_px, "input.resize_px": resize_px, "data.source.side_px": max(160, resize_px)}


def two_phase_system(backbone: Path, images: int, epochs: tuple[int, int], side_px: int) -> SystemConfig:
    """The quickstart from this backbone, in the stages of tomato_leaf."""
    changes = {
        **sizes(side_px),
        "data.source.images_per_class": images,
        "data.split": SPLIT,
        "model.weights": "file",
        "model.file": str(backbone),
        "training.stages": [
            {"name": "head", "epochs": epochs[0], "trainable": "head", "lr": 1e-3},
            {"name": "top", "epochs": epochs[1], "trainable": "top", "lr": 1e-3, "backbone_lr": 1e-4},
        ],
        "training.early_stop_epochs": None,
    }
    return load_system("quickstart", changes)


def draw(config: SystemConfig, folder: Path) -> pd.DataFrame:
    """The splits table of the images that this draws."""
    from vision.data.manifest import describe_files, list_images
    from vision.data.sources import materialise
    from vision.data.splits import assign

    materialise(config.data, folder, None)
    splits = assign(describe_files(folder, list_images(folder)), config.data.split, None)
    return splits[splits["split"].notna()].reset_index(drop=True)


def fill(cache: Path, folder: Path, rows: pd.DataFrame, config: SystemConfig) -> Path:
    from vision.data.cache import create_cache, fill_cache

    fill_cache(cache, folder, 0, create_cache(cache, rows, config.input))
    return cache


def on_own_ray(job: "TrainJob", folder: Path) -> "FitReport":
    """Trains on a Ray that lives for this run alone."""
    import ray

    from tasks.cluster.train import train_on_ray

    ensure_ray(None)
    report = train_on_ray(job, folder)
    ray.shutdown()
    return report


def run_ours(folder: Path, data: Data, seed: int, views: int | None = VIEWS) -> Run:
    from tasks.training.start import TrainJob

    training = data.config.training.model_copy(update={"seed": seed, "cached_views": views})
    config, known = data.config.model_copy(update={"training": training}), data.rows["split"] != "test"
    job = TrainJob(config=config, labels=data.labels, cache=folder / "cache")
    start = time.perf_counter()
    with RayCpu() as cpu:
        fill(job.cache, data.folder, data.rows[known], config)
        report = on_own_ray(job, folder / "fit")
    wall = time.perf_counter() - start
    return Run(wall, cpu.seconds, answers_of(job, folder, data), report.epoch_seconds)


def answers_of(job: "TrainJob", folder: Path, data: Data) -> np.ndarray:
    """As the model is served: from a cache of the test images alone."""
    from tasks.training.start import build_model
    from vision.data.cache import ImageCache
    from vision.kinds import answering
    from vision.models.network import load_model
    from vision.package import Spec
    from vision.training.predict import predict

    config, model = job.config, load_model(build_model(job), folder / "fit" / "model.safetensors")
    outputs = answering(config.kind).outputs
    spec = Spec(
        schema=1, kind=config.kind, arch=config.model.arch, labels=job.labels, input=config.input, outputs=outputs
    )
    rows = data.rows[data.rows["split"] == "test"]
    cache = ImageCache.open(fill(folder / "test_cache", data.folder, rows, config))
    return predict(model, cache.images, np.arange(len(rows)), spec)["logits"].argmax(1)


def run_plainly(folder: Path, data: Data, seed: int) -> Run:
    training = data.config.training.model_copy(update={"seed": seed})
    config = data.config.model_copy(update={"training": training})
    splits = {name: data.files(name) for name in ("train", "val")}
    folder.mkdir()
    wall, cpu = time.perf_counter(), cpu_seconds()
    model = train_plainly(splits, config, data.backbone, folder / "best.pt")
    wall, cpu = time.perf_counter() - wall, cpu_seconds() - cpu
    return Run(wall, cpu, judged(model, data.files("test"), config), wall)
