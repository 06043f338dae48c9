"""How long an answer takes and how large the files are. Measured here, on this machine; never compared across
machines."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

BATCHES = (8, 32)


def profile_latency(
    run: Callable[[np.ndarray], Any], images: np.ndarray, runs: int = 50, warmup_runs: int = 5
) -> dict[str, float]:
    """Times `run` on images uint8 [N, S, S, 3], repeated where a batch needs more than N.

    Returns latency_p50_ms, latency_p95_ms and latency_cpu_ms (CPU time of this process over all threads, an image) for
    one image at a time; batch8_p50_ms, batch8_images_per_s and the same for 32 over a fifth of the runs.
    """
    one_ms, cpu_s = _time(run, [_batch(images, 1, start) for start in range(runs)], warmup_runs)
    found = {
        "latency_p50_ms": float(np.percentile(one_ms, 50)),
        "latency_p95_ms": float(np.percentile(one_ms, 95)),
        "latency_cpu_ms": 1000 * cpu_s / runs,
    }
    for size in BATCHES:
        batch_ms, _ = _time(run, [_batch(images, size, 0)] * max(3, runs // 5), min(warmup_runs, 2))
        found[f"batch{size}_p50_ms"] = float(np.percentile(batch_ms, 50))
        found[f"batch{size}_images_per_s"] = 1000 * size / found[f"batch{size}_p50_ms"]
    return found


def size_mib(path: Path) -> float:
    """Size of a file, or of all files below a folder, in MiB."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files) / 2**20


def size_table(folder: Path) -> pd.DataFrame:
    """The files below `folder`, largest first: file, size_mib."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    table = pd.DataFrame(
        {"file": [file.relative_to(folder).as_posix() for file in files], "size_mib": [size_mib(f) for f in files]}
    )
    return table.sort_values(["size_mib", "file"], ascending=[False, True], ignore_index=True)


def _batch(images: np.ndarray, size: int, start: int) -> np.ndarray:
    """A contiguous batch of `size` images from `start` on, beginning again at the first when they run out."""
    return np.ascontiguousarray(images[np.arange(start, start + size) % len(images)])


def _time(run: Callable[[np.ndarray], Any], batches: list[np.ndarray], warmup_runs: int) -> tuple[np.ndarray, float]:
    """Wall milliseconds of each call after the warm-up, and the CPU seconds of all of them."""
    for number in range(warmup_runs):
        run(batches[number % len(batches)])
    wall_ms, cpu_start = [], time.process_time()
    for batch in batches:
        start = time.perf_counter()
        run(batch)
        wall_ms.append(1000 * (time.perf_counter() - start))
    return np.asarray(wall_ms), time.process_time() - cpu_start
