"""Memory does not grow with the images: what each stage holds at four times as many.

The stages' own code runs in this process, on real Ray, with Python's and numpy's allocations traced; `make bench-size`
measures whole processes on sets of real size.
"""

import tracemalloc

import pandas as pd
import pytest

from expectations.contract import check_contract
from tasks.data.cache import cache
from tasks.data.describe import describe
from tasks.data.explore import explore
from tasks.data.ingest import ingest
from tasks.data.split import SPLITS, split
from tasks.evaluation.evaluate import evaluate
from tasks.run import open_run
from tasks.stages import StagePlan, run_stage, write_json

KIB_AN_IMAGE = 10
"""Rows of tables, paths, DVC's index are about 4. A decoded image of this test is 75."""
LITTLE_KIB = 1024
"""What differs between two runs of any size."""
SHARES = {"train": 0.3, "val": 0.2, "test": 0.5}

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray", "shared_state")]


def train_once(run, dataset, images):
    """One epoch of the training loop in this process, where its allocations can be traced."""
    from tasks.training.start import TrainJob, build_model, load_or_make_start, loaders_of, plan_of
    from vision.models.network import save_model
    from vision.training.loop import fit

    def work(folder):
        job = TrainJob(config=run.config, labels=dataset.labels, cache=images.folder)
        weights = load_or_make_start(job, folder)
        model = build_model(job)
        result = fit(model, loaders_of(job), plan_of(job, weights))
        save_model(model, folder / "model.safetensors")
        write_json(folder / "history.json", result.history)
        return {}

    return run_stage(
        run.stages, StagePlan(stage="train", inputs={"cache": images.key}, roots=("vision.training.loop",)), work
    )


def validated(run, dataset, splits):
    """The contract, without the table that the task shows in Prefect."""
    check_contract(pd.read_parquet(splits.folder / SPLITS), run.config, dataset.labels, splits.folder / "docs")


def peaks_kib(system):
    """Stage -> KiB that it allocated at most at once, beyond what was there before it."""
    run, found = open_run(system, {}), {}

    def traced(name, work, *values):
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        result = work(run, *values)
        found[name] = (tracemalloc.get_traced_memory()[1] - before) / 1024
        return result

    # `__wrapped__`: what the Prefect task does, without Prefect.
    dataset = traced("ingest", ingest.fn)
    splits = traced("split", split.__wrapped__, traced("describe", describe.__wrapped__, dataset))
    traced("validate", validated, dataset, splits)
    traced("explore", explore.__wrapped__, splits)
    images = traced("cache", cache.__wrapped__, splits)
    model = traced("train", train_once, dataset, images)
    traced("evaluate", evaluate.__wrapped__, dataset, images, model)
    return found


def test_no_stage_holds_more_images_in_memory_when_there_are_four_times_as_many(tiny):
    def at(per_class):
        source = {"type": "drawn", "images_per_class": per_class, "side_px": 64, "seed": per_class}
        sizes = {"side_px": 128, "resize_px": 160}
        # Pictures of a fixed number of images: how many are wrong, and so drawn, differs between two trainings.
        few = {"bootstrap_samples": 100, "latency_runs": 5, "latency_warmup_runs": 1, "grid_images": 4}
        return tiny(data={"source": source, "split": SHARES}, input=sizes, evaluation=few)

    tracemalloc.start()
    try:
        peaks_kib(at(12))  # imports, and what libraries keep
        once, four_times = peaks_kib(at(25)), peaks_kib(at(100))
    finally:
        tracemalloc.stop()
    allowed = LITTLE_KIB + KIB_AN_IMAGE * 300
    grown = {name: round(four_times[name] - once[name]) for name in once}
    assert {name: kib for name, kib in grown.items() if kib > allowed} == {}, f"KiB for 300 more images: {grown}"
