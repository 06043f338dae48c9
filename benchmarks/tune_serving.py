"""Measures this device on a small grid and writes the profile that the service takes up: `make tune-serving`.

Each setting is a real server under 64 clients that send the package's golden images; the fastest wins. The queue holds
what the winner answers in a second: longer waits are answered 429 instead.
"""

import argparse
import json
import math
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.load import closed_loop, post
from benchmarks.servers import free_port, ours
from benchmarks.serving_access import make_key
from bentos.resources import cores
from configs.load import settings
from configs.paths import StatePaths
from configs.profile import ServingProfile, device_name, write_profile
from vision.export.golden import golden_files
from vision.package import Package, open_package
from vision.release import first_release, package_folder, read_release, write_release

CLIENTS = 64
BATCHES = (8, 16, 32)
QUEUE_S = 1.0
MIN_QUEUE = 2 * CLIENTS
"""All clients may meet in one worker; a queue shorter than that refuses some of a load that the service can bear."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--system", default=settings().system)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement")
    asked = parser.parse_args()
    state = settings().state.absolute()
    with tempfile.TemporaryDirectory(prefix="visionops-tune-") as folder:
        package = borrow_champion(state, asked.system, Path(folder))
        rows = tuned(Path(folder), package, asked)
    best = max(rows, key=rank)
    path = write_profile(state, profile_of(package, best, rows))
    print(f"{path}: {best['workers']:.0f} workers of {best['threads']:.0f} threads, batches of {best['max_batch']:.0f}")
    print(json.dumps(best))


def borrow_champion(state: Path, system: str, folder: Path) -> Package:
    """A state folder of our own that releases the same package: what we ask is nobody's traffic, and needs no real key."""
    release_file = StatePaths(state).release(system)
    release = read_release(release_file)
    if release is None:
        raise SystemExit(f"{system} has no released model: make train SYSTEM={system}")
    lies = package_folder(release_file, release.champion)
    write_release(
        StatePaths(folder).release(system),
        first_release(release.champion.model_copy(update={"uri": str(lies)}), "tuning"),
    )
    return open_package(lies, release.champion.package_sha)


def tuned(folder: Path, package: Package, asked) -> list[dict[str, float]]:
    header = make_key(folder, asked.system)
    files = golden_files(package.folder)
    requests = [post("/predict", path.read_bytes(), [header], "application/octet-stream") for path in files]
    rows = [measured(folder, asked, requests, setting) for setting in process_grid()]
    best = max(rows, key=rank)
    others = [best | {"max_batch": size} for size in BATCHES if size != best["max_batch"]]
    return rows + [measured(folder, asked, requests, setting) for setting in others]


def process_grid() -> Iterator[dict[str, float]]:
    """The cores as many workers, as one worker of many threads, and half way."""
    shares = {(cores(), 1), (1, cores()), (max(1, cores() // 2), max(1, cores() // max(1, cores() // 2)))}
    for workers, threads in sorted(shares, reverse=True):
        yield {"workers": workers, "threads": threads, "max_batch": 16}


def measured(folder: Path, asked, requests: list[bytes], setting: dict[str, float]) -> dict[str, float]:
    prefix = "VISIONOPS__SERVING__"
    names = ("workers", "threads", "max_batch")
    env = {f"{prefix}{name.upper()}": str(int(setting[name])) for name in names}
    env |= {f"{prefix}MAX_QUEUE": str(16 * CLIENTS), "VISIONOPS_SYSTEM": asked.system}
    with ours(free_port(), int(setting["workers"]), folder, folder / "server.log", requests[0], env) as server:
        loads = [closed_loop(server.port, requests, CLIENTS, asked.seconds) for _ in range(3)]
        lone = closed_loop(server.port, requests, 1, 1.0)
    row = {name: float(setting[name]) for name in names}
    row["per_second"] = round(statistics.median(load.per_second for load in loads), 1)
    row["p95_ms"] = round(statistics.median(load.percentile_ms(95) for load in loads), 1)
    row["lone_p50_ms"] = round(lone.percentile_ms(50), 2)
    print("  ".join(f"{name} {value:g}" for name, value in row.items()), flush=True)
    return row


def rank(row: dict[str, float]) -> tuple[float, float]:
    """Requests a second, in steps of 3 % (less is noise); then the shorter lone request."""
    return round(math.log(max(row["per_second"], 1e-9)) / math.log(1.03)), -row["lone_p50_ms"]


def profile_of(package: Package, best: dict[str, float], rows: list[dict[str, float]]) -> ServingProfile:
    a_worker = best["per_second"] / best["workers"]
    return ServingProfile(
        device=device_name(cores()),
        package_sha=package.package_sha,
        workers=int(best["workers"]),
        threads=int(best["threads"]),
        max_batch=int(best["max_batch"]),
        max_queue=min(4096, max(MIN_QUEUE, round(a_worker * QUEUE_S))),
        measured=tuple(rows),
    )


if __name__ == "__main__":
    main()
