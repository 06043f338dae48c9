"""What SimCLR gains over no pre-training at some shares of the labels. Writes docs/pretraining.md; the last line is JSON.

Both arms have the same images, split, labels, network, side, augmentation, batches, epochs and seed; they differ in what they
start from and in its stages. Each is judged once, on test images that neither the backbone nor its training has seen.
Trainings that are finished lie in --work, and are not run again with the same settings.
"""

import argparse
import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.pretraining_page import summary, write_page
from configs.load import load_system, settings
from configs.schema import SystemConfig, config_sha
from tasks.cluster.session import ensure_ray
from tasks.environment import prepare

SPLIT = {"train": 0.6, "val": 0.1, "test": 0.3}
"""More to test on than a system keeps: the interval is what the question hangs on."""
SIMCLR = {"batch_size": 128, "crop_scale": [0.2, 1.0], "color_strength": 0.5, "blur": 0}
"""Milder than the paper's ImageNet: on small images without blur and with half the jitter, as it has them for CIFAR-10 (appendix
B.9); and views that are large enough to show a lesion. Chosen before anything was measured.
"""


@dataclass(frozen=True)
class Asked:
    """epochs: share of the labels -> epochs of both arms; fewer labels take more passes, and still less time."""

    system: str
    work: Path
    side_px: int
    views_px: int
    pretrain_epochs: int
    epochs: dict[float, int]
    seeds: int
    most_images: int | None


def main() -> None:
    asked, docs = _arguments()
    prepare()
    ensure_ray(None)
    config = system_for(asked, 0)
    data = f"{config_sha(config.data)[:12]}_{config_sha(config.input)[:12]}_{asked.most_images or 'all'}"
    asked = replace(asked, work=asked.work / data)
    make_data(config, asked)
    found = []
    for seed in range(asked.seeds):
        backbone, cost = pretrained(system_for(asked, seed), asked)
        for share in asked.epochs:
            one = {"seed": seed, "share": share, "pretraining": cost, **both_arms(asked, seed, share, backbone)}
            print(json.dumps(one), flush=True)
            found.append(one)
    if docs:
        write_page(found, _settings(asked, config), docs)
    print(json.dumps(summary(found)))


def _arguments() -> tuple[Asked, Path | None]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for data and trainings")
    parser.add_argument("--system", default="tomato_leaf")
    parser.add_argument("--side", type=int, default=96, help="px of the supervised input")
    parser.add_argument("--views", type=int, default=64, help="px of SimCLR's views")
    parser.add_argument("--pretrain-epochs", type=int, default=100)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.1, 0.25, 1.0])
    parser.add_argument("--epochs", type=int, nargs="+", default=[90, 50, 25], help="supervised epochs, one a share")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--most-images", type=int, help="of a class: a smoke test's")
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="where the page goes")
    parser.add_argument("--no-page", action="store_true")
    given = parser.parse_args()
    epochs = dict(zip(given.shares, given.epochs, strict=True))
    asked = Asked(
        given.system, given.work.absolute(), given.side, given.views, given.pretrain_epochs, epochs, given.seeds,
        given.most_images,
    )  # fmt: skip
    return asked, None if given.no_page else given.docs


def system_for(asked: Asked, seed: int, share: float = 1.0) -> SystemConfig:
    """The system, at the benchmark's side, with SimCLR and both arms' stages for this share."""
    epochs = asked.epochs.get(share) or max(asked.epochs.values())
    head = max(1, epochs // 10)
    tuned = {"epochs": max(1, epochs - head), "trainable": "all", "lr": 1e-3, "backbone_lr": 5e-4, "warmup_epochs": 1}
    whole = {"epochs": epochs, "trainable": "all", "lr": 2e-3, "warmup_epochs": min(2, epochs)}
    changes = {
        "data.split": SPLIT,
        "input": {"side_px": asked.side_px, "resize_px": round(asked.side_px * 8 / 7)},
        "model.weights": "simclr",
        "pretraining": {**SIMCLR, "epochs": asked.pretrain_epochs, "side_px": asked.views_px},
        "training.stages": [
            {"name": "head", "epochs": head, "trainable": "head", "lr": 3e-3},
            {"name": "all", **tuned},
        ],
        "training.stages_from_scratch": [{"name": "scratch", **whole}],
        "training.label_share": share,
        "training.early_stop_epochs": None,
        "training.seed": seed,
    }
    return load_system(asked.system, changes)


def make_data(config: SystemConfig, asked: Asked) -> None:
    """`data/` and `cache/` in the work folder, once."""
    from vision.data.cache import create_cache, fill_cache
    from vision.data.manifest import describe_files, list_images
    from vision.data.sources import materialise
    from vision.data.splits import assign

    done = asked.work / "done"
    if done.is_file():
        return
    for half_made in ("data", "cache"):
        shutil.rmtree(asked.work / half_made, ignore_errors=True)
    asked.work.mkdir(parents=True, exist_ok=True)
    materialise(config.data, asked.work / "data", settings().data)
    listing = list_images(asked.work / "data")
    if asked.most_images:
        listing = listing.groupby("label").head(asked.most_images).reset_index(drop=True)
    splits = assign(describe_files(asked.work / "data", listing), config.data.split)
    count = create_cache(asked.work / "cache", splits, config.input)
    fill_cache(asked.work / "cache", asked.work / "data", 0, count)
    done.touch()


def pretrained(config: SystemConfig, asked: Asked) -> tuple[Path, dict[str, float]]:
    """The backbone, and what it cost."""
    from tasks.cluster.train import train_on_ray
    from tasks.training.pretrain import BACKBONE, keep_backbone, pretraining_job, pretraining_system

    folder = asked.work / f"pretrain_{_key(config)}"
    job = pretraining_job(pretraining_system(config), labels_of(asked), asked.work / "cache")
    report = train_on_ray(job, folder, _say(f"pre-training, seed {config.training.seed}"))
    keep_backbone(folder)
    return folder / BACKBONE, {"loss": -report.score, "seconds": report.seconds, "cpu_seconds": report.cpu_seconds}


def both_arms(asked: Asked, seed: int, share: float, backbone: Path) -> dict[str, Any]:
    """Each arm's figures, and the gain in macro-F1 with its interval over the same resampled families."""
    config = system_for(asked, seed, share)
    random = config.model_copy(update={"model": config.model.model_copy(update={"weights": "random"})})
    scratch, scratch_rows = arm("scratch", random, asked, None)
    simclr, simclr_rows = arm("simclr", config, asked, backbone)
    low, high = _gain(simclr_rows, scratch_rows, labels_of(asked))
    gain = simclr["macro_f1"] - scratch["macro_f1"]
    return {"scratch": scratch, "simclr": simclr, "gain": gain, "gain_low": low, "gain_high": high}


def arm(name: str, config: SystemConfig, asked: Asked, backbone: Path | None) -> tuple[dict[str, float], Any]:
    """Trains one arm and judges it on the test split: figures, and one row an image."""
    from tasks.cluster.train import train_on_ray
    from tasks.training.start import TrainJob, build_model, labelled_images
    from vision.data.cache import ImageCache
    from vision.models.network import load_model

    folder, cache = asked.work / f"{name}_{_key(config)}", ImageCache.open(asked.work / "cache")
    job = TrainJob(config=config, labels=labels_of(asked), cache=asked.work / "cache", pretrained=backbone)
    report = train_on_ray(job, folder, _say(f"{name}, {config.training.label_share:.0%} of the labels"))
    model = load_model(build_model(job), folder / "model.safetensors")
    metrics, rows = _judged(model, job, cache)
    figures = {
        **{key: metrics[key] for key in ("macro_f1", "macro_f1_low", "macro_f1_high", "accuracy")},
        "labels": len(labelled_images(cache, config)),
        "test_images": len(rows),
        "best_epoch": report.best_epoch,
        "cpu_seconds": report.cpu_seconds,
    }
    return figures, rows


def _judged(model: Any, job: Any, cache: Any) -> tuple[dict[str, float], Any]:
    from vision.kinds import answering, learning
    from vision.package import Spec
    from vision.training.predict import predict

    config = job.config
    spec = Spec(
        schema=1, kind=config.kind, arch=config.model.arch, labels=job.labels, input=config.input,
        outputs=answering(config.kind).outputs,
    )  # fmt: skip
    indices = cache.indices("test")
    outputs = predict(model, cache.images, indices, spec)
    rows = cache.rows.iloc[indices].reset_index(drop=True)
    found = learning(config.kind).evaluate(outputs, rows, spec, config.evaluation)
    return found.metrics, found.rows


def _gain(rows: Any, before: Any, labels: tuple[str, ...]) -> tuple[float, float]:
    """Interval of the difference in macro-F1; both arms on the same resampled families."""
    from benchmarks.gain import gain_interval
    from vision.evaluation.metrics import class_numbers
    from vision.evaluation.resampling import family_confusions

    counts = [
        family_confusions(
            class_numbers(part["label"], labels), class_numbers(part["answer"], labels), part["family"], len(labels)
        )
        for part in (rows, before)
    ]
    return gain_interval(*counts, len(labels), "macro_f1")


def _key(config: SystemConfig) -> str:
    """Of what a training here depends on: not of the gate, the monitor or the service, which change meanwhile."""
    sections = (config.data, config.input, config.model, config.pretraining, config.training)
    return hashlib.sha256("".join(map(config_sha, sections)).encode()).hexdigest()[:12]


def labels_of(asked: Asked) -> tuple[str, ...]:
    from vision.data.cache import ImageCache

    return tuple(sorted(ImageCache.open(asked.work / "cache").rows["label"].unique()))


def _say(what: str):
    def say(record: dict[str, Any]) -> None:
        if record["epoch"] % 10 == 0 or record["epoch"] == record["epochs"]:
            score = f", val macro-F1 {record['val_macro_f1']:.3f}" if "val_macro_f1" in record else ""
            speed = f"{record['images_per_s']:.0f} img/s"
            print(
                f"{what}: {record['epoch']}/{record['epochs']}, loss {record['train_loss']:.3f}{score}, {speed}",
                flush=True,
            )

    return say


def _settings(asked: Asked, config: SystemConfig) -> dict[str, Any]:
    named = {key: value for key, value in asdict(asked).items() if key != "work"}
    return {**named, "arch": config.model.arch, "pretraining": config.pretraining.model_dump(), "cores": os.cpu_count()}


if __name__ == "__main__":
    main()
