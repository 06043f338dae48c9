"""Training speed as ratios, interleaved in one run. The last line is JSON.

ray_vs_plain          images/s of the Ray path (after its first epoch) / a plain loop at equal precision and cache
ray_vs_decoding       the same / a float32 loop that decodes JPEGs each epoch
cpu_...               CPU-seconds an image, peer / ours (above 1: ours needs less)
two_workers_vs_one    `training.workers` 2 / 1 on this machine's cores: images/s (above 1: two are faster), CPU-seconds an image
                      (below 1: two need less), and both figures of each
feature_rows_per_s    manifest rows that one core makes a second
flow_overhead_share   share of train_model's wall time on the quickstart that is not stage work

A whole two-phase run (benchmarks.training_runs says what counts), the same images, backbone, epochs, batches, augmentation:

two_phase_speedup     wall seconds of the earlier systems' loop / ours
two_phase_speedup_epochs  the same without ours' start, end, image cache and checkpoints: what a longer run comes near to
two_phase_cpu_ratio   CPU-seconds of the whole run, the same way; ours with all of Ray's processes
two_phase_accuracy_ours, _plain   mean over the runs, on the same test images
two_phase_accuracy_gain, _low, _high   ours - plain, with its 95 % interval over the images; `_high` below 0: no equal accuracy
two_phase_..._fresh   ours with a new view of each image in each epoch, in place of four that are kept
two_phase_wall_s, _epochs_s, _cpu_s   medians of each
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from benchmarks.plain_loops import Speed, cached_loop, decoding_loop
from benchmarks.training_runs import QUICK_PX, two_phase
from configs.load import load_system
from tasks.cluster.session import ensure_ray
from tasks.environment import prepare

EPOCHS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds; medians are reported")
    parser.add_argument("--no-flow", action="store_true", help="leave out the flow on the quickstart (some minutes)")
    parser.add_argument("--images", type=int, default=120, help="drawn images of a class to train and validate on")
    parser.add_argument("--runs", type=int, default=2, help="interleaved two-phase runs; 0 leaves them out")
    parser.add_argument("--epochs", type=int, nargs=2, default=(5, 6), help="of the two phases")
    parser.add_argument("--side", type=int, default=QUICK_PX, help="pixels that the network of the two phases sees")
    asked = parser.parse_args()
    prepare()
    with tempfile.TemporaryDirectory(prefix="visionops-bench-") as folder:
        work = Path(folder)
        config, rows_per_s = make_data(work, asked.images)
        result = {"feature_rows_per_s": round(rows_per_s, 1), **loops(work, config, asked.rounds)}
        if asked.runs:
            result |= two_phase(work, asked.images, tuple(asked.epochs), asked.runs, asked.side)
        if not asked.no_flow:
            result["flow_overhead_share"] = flow_overhead(work)
    print(json.dumps(result))


def make_data(work: Path, images: int):
    """Drawn leaves, laid out in `work`; the config, and feature rows a second of one core."""
    one_stage = [{"name": "bench", "epochs": EPOCHS, "trainable": "all", "lr": 1e-3}]
    changes = {
        "data.source.images_per_class": images,
        "data.split": {"train": 0.9, "val": 0.05, "test": 0.05},
        "training.stages": one_stage,
        "training.stages_from_scratch": one_stage,
        "training.early_stop_epochs": None,
    }
    config = load_system("quickstart", changes)
    return config, lay_out(work, config)


def lay_out(work: Path, config) -> float:
    """Data, manifest, splits and cache in `work`; manifest rows a second of one core."""
    from vision.data.cache import create_cache, fill_cache
    from vision.data.manifest import describe_files, list_images
    from vision.data.sources import materialise
    from vision.data.splits import assign

    materialise(config.data, work / "data", None)
    start = time.process_time()
    manifest = describe_files(work / "data", list_images(work / "data"))
    rows_per_s = len(manifest) / (time.process_time() - start)
    splits = assign(manifest, config.data.split, None)
    create_cache(work / "cache", splits, config.input)
    fill_cache(work / "cache", work / "data", 0, int(splits["split"].notna().sum()))
    return rows_per_s


def loops(work: Path, config, rounds: int) -> dict[str, float]:
    """Ours and the two peers in turn, `rounds` times."""
    import torch

    from vision.data.cache import ImageCache
    from vision.kinds import learning

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    cache = ImageCache.open(work / "cache")
    train = cache.indices("train")
    rows = cache.rows.iloc[train]
    labels = tuple(sorted(rows["label"].unique()))
    targets, images = learning(config.kind).targets(rows, labels), cache.images[train]
    files = [work / "data" / path for path in rows["path"]]
    found: dict[str, list[Speed]] = {"ray": [], "plain": [], "decoding": [], "two_workers": []}
    two_workers = config.model_copy(update={"training": config.training.model_copy(update={"workers": 2})})
    startups = []
    for number in range(rounds):
        speed, startup, bf16 = ray_path(work / f"round{number}", work / "cache", config, labels)
        found["ray"].append(speed)
        startups.append(startup)
        found["plain"].append(cached_loop(images, targets, config.input, config.training, bf16))
        found["decoding"].append(decoding_loop(files, targets, config.input, config.training))
        found["two_workers"].append(ray_path(work / f"two{number}", work / "cache", two_workers, labels)[0])
        print(f"round {number + 1}: " + show({name: speeds[-1] for name, speeds in found.items()}), flush=True)
    two = {"two_workers_vs_one": workers_ratio(found["two_workers"], found["ray"])}
    return ratios(found, ("plain", "decoding")) | two | {"ray_startup_s": round(statistics.median(startups), 1)}


def ray_path(folder: Path, cache: Path, config, labels) -> tuple[Speed, float, bool]:
    """Speed, seconds that are not epochs (Ray's start, the probe, checkpoints, writing), and whether it used bf16."""
    import ray

    from tasks.cluster.train import train_on_ray
    from tasks.training.start import TrainJob
    from vision.data.cache import ImageCache

    start = time.perf_counter()
    ensure_ray(None)
    report = train_on_ray(TrainJob(config=config, labels=labels, cache=cache), folder)
    startup = time.perf_counter() - start - report.epoch_seconds
    ray.shutdown()
    history = pd.DataFrame(json.loads((folder / "history.json").read_text())).iloc[1:]
    images = len(ImageCache.open(cache).indices("train"))
    cpu = float(history["cpu_seconds"].median()) / images  # validation included: the peers have none
    return Speed(float(history["images_per_s"].median()), cpu), startup, report.precision.chosen == "bf16"


def ratios(found: dict[str, list[Speed]], peers: tuple[str, ...]) -> dict[str, float]:
    """Medians over the rounds of the ratios within each round, of `ray` to each peer."""
    result = {}
    for peer in peers:
        pairs = list(zip(found["ray"], found[peer], strict=True))
        result[f"ray_vs_{peer}"] = round(statistics.median(a.images_per_s / b.images_per_s for a, b in pairs), 3)
        result[f"cpu_{peer}_vs_ray"] = round(
            statistics.median(b.cpu_s_per_image / a.cpu_s_per_image for a, b in pairs), 3
        )
    return result


def workers_ratio(two: list[Speed], one: list[Speed]) -> dict[str, float]:
    """Medians over the rounds: of the ratios within each, and of each side's own figures."""
    figures = {}
    for what in ("images_per_s", "cpu_s_per_image"):
        pairs = [(getattr(a, what), getattr(b, what)) for a, b in zip(two, one, strict=True)]
        figures[what] = round(statistics.median(a / b for a, b in pairs), 3)
        for side, values in zip(("two", "one"), zip(*pairs, strict=True), strict=True):
            figures[f"{what}_{side}"] = round(statistics.median(values), 4)
    return figures


def show(speeds: dict[str, Speed]) -> str:
    return ", ".join(
        f"{name} {s.images_per_s:.1f} img/s {1e3 * s.cpu_s_per_image:.1f} cpu-ms" for name, s in speeds.items()
    )


TIMED_FLOW = """
import time
from prefect.client.orchestration import get_client
from flows.train_model import train_model
get_client(sync_client=True).hello()  # Prefect's own server is up before the clock starts
start = time.perf_counter()
assert train_model(system="quickstart", reason="benchmark", return_state=True).is_completed()
print("flow wall seconds", time.perf_counter() - start)
"""


def flow_overhead(work: Path) -> float:
    """train_model on the quickstart in a fresh state folder: 1 - (seconds of its stages) / (the flow's wall time)."""
    state = work / "state"
    env = {**os.environ, "VISIONOPS_STATE": str(state), "PREFECT_HOME": str(work / "prefect")}
    env["BENTOML_HOME"] = str(work / "bentoml")
    command = [sys.executable, "-c", TIMED_FLOW]
    done = subprocess.run(command, env=env, check=True, stdout=subprocess.PIPE, text=True)
    wall = float(done.stdout.rsplit("flow wall seconds", 1)[1])
    stages = {
        p.parent.parent.name: json.loads(p.read_text())["seconds"]
        for p in state.glob("systems/*/stages/*/*/stage.json")
    }
    stages["ingest"] = json.loads((state / "systems" / "quickstart" / "dataset.json").read_text())["seconds"]
    print(f"quickstart: {wall:.0f} s, of which stages {sum(stages.values()):.0f} s: {stages}", flush=True)
    return round(1 - sum(stages.values()) / wall, 3)


if __name__ == "__main__":
    main()
