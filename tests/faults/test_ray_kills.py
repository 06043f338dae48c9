"""Ray workers, nodes and heads that are lost at work: what was begun is finished, or one message says why not."""

import json
import signal
import time
from contextlib import contextmanager

import numpy as np
import pandas as pd
import psutil
import pytest
from PIL import Image
from ray_jobs import EPOCHS, job_for, learned, make_cache, same_weights, train_alone

from flows.command import guarded
from tasks.cluster import data as ray_data
from tasks.cluster.train import train_on_ray
from tasks.training import watch as training_watch
from tasks.training.watch import read_records
from vision.data.cache import IMAGES, create_cache, fill_cache
from vision.data.manifest import describe_files, list_images, write_manifest
from vision.package import InputSpec

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray", "quick_looks")]


@pytest.fixture
def quick_looks(monkeypatch):
    monkeypatch.setenv("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
    monkeypatch.setattr(training_watch, "POLL_S", 0.05)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return make_cache(tmp_path_factory.mktemp("cache"))


def processes(name):
    """Ray's workers under this process whose title has `name`."""
    found = []
    for child in psutil.Process().children(recursive=True):
        try:
            if child.cmdline() and name in child.cmdline()[0]:
                found.append(child)
        except psutil.Error:
            continue
    return found


class KilledInMidEpoch:
    """As on_epoch: after `epoch`, SIGKILLs one worker that is some steps into the next one."""

    def __init__(self, folder, epoch):
        self.folder, self.epoch, self.told, self.pid = folder, epoch, [], None
        self.committed: list[dict] = []

    def __call__(self, record):
        self.told.append(record)
        if record["epoch"] != self.epoch or self.pid:
            return
        workers = processes("RayTrainWorker")
        worker, whole = workers[-1], record["cpu_seconds"] / len(workers)
        begun = sum(worker.cpu_times()[:2])
        while (spent := sum(worker.cpu_times()[:2]) - begun) < 0.3 * whole:
            time.sleep(0.01)
        assert spent < 0.8 * whole and len(read_records(self.folder / "history.ndjson")) == self.epoch
        half_written = self.folder / "ray" / "fit" / f"checkpoint_epoch_{self.epoch + 1:04d}"
        half_written.mkdir()
        (half_written / "state.pt").write_bytes(b"half")
        worker.send_signal(signal.SIGKILL)
        self.pid = worker.pid
        known = (half_written.parent / "checkpoint_manager_snapshot.json").read_text()
        self.committed = [r for r in self.told if f"checkpoint_epoch_{r['epoch']:04d}" in known]
        assert self.committed, known

    def resumed_after_the_committed(self):
        """Not trained again: even their times are those of before."""
        final = json.loads((self.folder / "history.json").read_text())
        assert final[: len(self.committed)] == self.told[: len(self.committed)]
        assert [record["epoch"] for record in final] == list(range(1, EPOCHS + 1))
        return True


@pytest.mark.parametrize("workers", [pytest.param(1, id="one_worker"), pytest.param(2, id="two_workers")])
def test_worker_killed_in_mid_epoch_is_replaced_and_training_ends_bit_for_bit_as_if_unbroken(
    workers, cache, tmp_path, fault
):
    broken, alone = tmp_path / "broken", tmp_path / "alone"
    unbroken = train_alone(cache, alone, workers)
    kill = KilledInMidEpoch(broken, epoch=2)
    train_on_ray(job_for(cache, workers=workers), broken, kill)
    assert kill.pid and not psutil.pid_exists(kill.pid)
    assert [record["epoch"] for record in kill.told] == list(range(1, EPOCHS + 1))
    assert learned(kill.told) == learned(unbroken)
    assert len({record["lr"] for record in unbroken}) > 2
    assert same_weights(alone, broken)
    assert kill.resumed_after_the_committed()
    assert sorted(path.name for path in broken.iterdir()) == ["fit.json", "history.json", "model.safetensors"]
    fault.saw(
        "Kills", f"SIGKILL of {('the only worker', 'one of two workers')[workers - 1]} of Ray Train in mid-epoch",
        exit=0, says="nothing",
        kept="every committed epoch; a half-written checkpoint does no harm. Rates, losses and final weights: bit for bit "
        "those of an unbroken training",
    )  # fmt: skip


def test_worker_killed_too_often_ends_with_one_message_and_the_next_call_goes_on(cache, tmp_path, fault, capsys):
    job, folder = job_for(cache, max_failures=0), tmp_path / "stage"
    kill = KilledInMidEpoch(folder, epoch=2)

    def once():
        train_on_ray(job, folder, kill)
        return 0

    assert guarded(once, verbose=False) == 1
    said = capsys.readouterr().err.partition("error: ")[2]
    assert "training.max_failures" in said and "Traceback" not in said
    assert len(read_records(folder / "history.ndjson")) == 2 and not (folder / "fit.json").exists()
    assert guarded(once, verbose=False) == 0
    assert kill.resumed_after_the_committed()
    fault.saw(
        "Kills", "a Ray train worker dies more often than training.max_failures", exit=1, says=said,
        kept="every committed epoch: the same command goes on after them",
    )  # fmt: skip


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """64 images that take some time to read."""
    root = tmp_path_factory.mktemp("dataset")
    rng = np.random.default_rng(0)
    for number in range(64):
        path = root / "images" / ("dark", "light")[number % 2] / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (400, 400, 3), dtype=np.uint8)).save(path)
    return root


@contextmanager
def killing(name):
    """Yields an on_progress that SIGKILLs, once, all workers at a task of that name."""
    killed, seen = [], []

    def on_progress(done, total):
        seen.append((done, total))
        while not killed:
            for worker in processes(name):
                worker.send_signal(signal.SIGKILL)
                killed.append(worker.pid)

    yield on_progress
    assert killed and not any(psutil.pid_exists(pid) for pid in killed)
    assert seen[0][0] < seen[-1][0] == seen[-1][1], "the kill came in the middle"


def test_worker_killed_while_describing_or_caching_loses_no_image_and_takes_none_twice(
    images, tmp_path, monkeypatch, fault
):
    monkeypatch.setattr(ray_data, "BATCH_IMAGES", 4)
    with killing("MapBatches") as on_progress:
        ray_data.describe_on_ray(images, tmp_path / "manifest.parquet", on_progress)
    described = pd.read_parquet(tmp_path / "manifest.parquet")
    write_manifest(describe_files(images, list_images(images)), tmp_path / "alone.parquet")
    pd.testing.assert_frame_equal(described, pd.read_parquet(tmp_path / "alone.parquet"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alone.parquet", "manifest.parquet"]

    described.assign(split="train").to_parquet(tmp_path / "splits.parquet")
    spec = InputSpec(side_px=32, resize_px=36)
    with killing("MapBatches") as on_progress:
        ray_data.cache_on_ray(images, tmp_path / "splits.parquet", spec, tmp_path / "cache", on_progress)
    count = create_cache(tmp_path / "alone", pd.read_parquet(tmp_path / "splits.parquet"), spec)
    fill_cache(tmp_path / "alone", images, 0, count)
    assert np.array_equal(np.load(tmp_path / "cache" / IMAGES), np.load(tmp_path / "alone" / IMAGES))
    fault.saw(
        "Kills", "SIGKILL of the Ray workers that describe or cache", exit=0, says="nothing",
        kept="everything: Ray repeats the batches at hand; the table and the cache equal those of an unbroken run",
    )  # fmt: skip
