"""A training of a second or two an epoch, and the command that runs it on a cluster, as a flow's stage would."""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd

LABELS = ("dark", "light")
EPOCHS = 4
INPUT = {"side_px": 32, "resize_px": 36}
TRAIN, VAL = 160, 16


def make_cache(folder: Path) -> Path:
    """Images of 36 px, dark or light."""
    from vision.package import InputSpec

    rng, count = np.random.default_rng(0), TRAIN + VAL
    labels = np.array(LABELS)[np.arange(count) % 2]
    images = rng.integers(0, 120, (count, 36, 36, 3)) + np.where(labels == "light", 100, 0)[:, None, None, None]
    np.save(folder / "images.npy", images.astype(np.uint8))
    splits = ["train"] * TRAIN + ["val"] * VAL
    rows = pd.DataFrame({"path": [f"{n}.jpg" for n in range(count)], "label": labels, "split": splits})
    rows.to_parquet(folder / "rows.parquet")
    (folder / "input.json").write_text(InputSpec(**INPUT).model_dump_json())
    return folder


def job_for(cache: Path, **training):
    from configs.schema import SystemConfig
    from tasks.training.start import TrainJob

    stages = [
        {"name": "head", "epochs": 1, "trainable": "head", "lr": 1e-3, "warmup_epochs": 0.5},
        {"name": "all", "epochs": EPOCHS - 1, "trainable": "all", "lr": 1e-3, "warmup_epochs": 0.5},
    ]
    options = {"batch_size": 4, "precision": "float32", "cpus_per_worker": 1, "early_stop_epochs": None, **training}
    config = {
        "system": "tiny",
        "title": "Tiny",
        "kind": "classify",
        "data": {"source": {"type": "drawn"}},
        "input": INPUT,
        "model": {"arch": "mobilenet_v3_small", "dropout": 0.1},
        "training": {
            "stages": stages,
            "stages_from_scratch": stages,
            "augment": [{"name": "random_crop"}, {"name": "horizontal_flip"}],
            **options,
        },
    }
    return TrainJob(config=SystemConfig.model_validate(config), labels=LABELS, cache=cache)


def train_alone(cache: Path, folder: Path, workers: int) -> list[dict]:
    """What the training makes without Ray and without a fault: `folder`/model.safetensors; returns the history."""
    import torch.multiprocessing

    folder.mkdir()
    args = (cache, folder, workers)
    if workers == 1:
        _member(0, *args)
    else:
        torch.multiprocessing.spawn(_member, args, nprocs=workers)
    return json.loads((folder / "history.json").read_text())


def _member(rank: int, cache: Path, folder: Path, workers: int) -> None:
    import torch

    from tasks.training.start import START, build_model, load_or_make_start, loaders_of, plan_of
    from vision.models.network import load_model, save_model
    from vision.training.loop import fit
    from vision.training.team import current_team

    torch.set_num_threads(1)
    job, own = job_for(cache, workers=workers), folder / str(rank)
    own.mkdir()
    weights = load_or_make_start(job, own)
    model = load_model(build_model(job), own / START)
    if workers > 1:
        store = f"file://{folder / 'store'}"
        torch.distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=workers)
    result = fit(model, loaders_of(job), plan_of(job, weights), team=current_team())
    if rank == 0:
        save_model(model, folder / "model.safetensors")
        (folder / "history.json").write_text(json.dumps(result.history))
    if workers > 1:
        torch.distributed.destroy_process_group()


def learned(records: list[dict]) -> list[dict]:
    """What the training itself makes of each epoch: rates, losses, metrics; not how long it took."""
    return [{n: v for n, v in record.items() if "seconds" not in n and n != "images_per_s"} for record in records]


def same_weights(left: Path, right: Path) -> bool:
    """Bit for bit."""
    import torch
    from safetensors.torch import load_file

    one, other = (load_file(folder / "model.safetensors") for folder in (left, right))
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def main(cache: str, folder: str, training: str) -> int:
    """Joins the cluster at RAY_ADDRESS and trains; prints a line an epoch. Exits as a command of the project does."""
    from configs.load import settings
    from flows.command import guarded
    from tasks.cluster import session as ray_session
    from tasks.cluster.train import train_on_ray
    from tasks.training import watch as training_watch

    training_watch.POLL_S, ray_session.HEAD_LOST_S, ray_session.KNOCK_S = 0.05, 5.0, 2.0

    def work() -> int:
        with ray_session.ray_session():
            ray_session.ensure_ray(settings().ray_address)
            job = job_for(Path(cache), **json.loads(training))
            train_on_ray(job, Path(folder), lambda record: print("epoch", record["epoch"], flush=True))
        return 0

    return guarded(work, verbose=False)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    raise SystemExit(main(*sys.argv[1:]))
