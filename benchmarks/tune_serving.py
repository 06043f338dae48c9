"""Measures this device on a small grid and writes the profile that the service takes up: `make tune-serving`.

Each setting is a real server under 64 clients that send the package's golden images; the fastest wins. All settings of a
grid are up at once and take turns, round after round, so that what else the machine does falls on all of them. First
workers and threads, then batch sizes, then INT8 where the package has passed its gate and its settings leave the
precision open. About three minutes on two cores. The queue holds what the winner answers in a third
of a second, and no less than the default: longer waits are answered 429 instead.
"""

import argparse
import contextlib
import json
import math
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from benchmarks.load import Load, closed_loop, post
from benchmarks.servers import free_port, ours, stop_servers_on_term
from benchmarks.serving_access import make_key
from bentos.resources import cores, engine_name
from configs.load import environment_overrides, settings
from configs.paths import StatePaths
from configs.profile import ServingProfile, device_name, write_profile
from configs.serving import ServingConfig
from configs.yaml_files import Layer, merged
from vision.export.golden import golden_files
from vision.package import Package, open_package
from vision.release import first_release, package_folder, read_release, write_release

CLIENTS = 64
BATCHES = (8, 16, 32)
SHAPE = ("workers", "threads", "max_batch")
INT8 = "int8"
"""Of a setting: 1 or 0."""
QUEUE_S = 0.33
QUEUE_BATCHES = 2
"""At least: one that is computed, and one that waits for it."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--system", default=settings().system)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3, help="medians over so many")
    asked = parser.parse_args()
    stop_servers_on_term()
    state = settings().state.absolute()
    with tempfile.TemporaryDirectory(prefix="visionops-tune-") as folder:
        package = borrow_champion(state, asked.system, Path(folder))
        rows, best = tuned(Path(folder), package, asked)
    path = write_profile(state, profile_of(package, best, rows))
    shape = "{workers:.0f} workers of {threads:.0f} threads, batches of {max_batch:.0f}".format(**best)
    print(f"{path}: {shape}{', INT8' if best[INT8] else ''}")
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


def tuned(folder: Path, package: Package, asked) -> tuple[list[dict[str, float]], dict[str, float]]:
    """All that was measured, and the best of it. What won the first grid is measured again in the second."""
    header = make_key(folder, asked.system)
    files = golden_files(package.folder)
    requests = [post("/predict", path.read_bytes(), [header], "application/octet-stream") for path in files]
    rows = last = measured(folder, asked, requests, list(process_grid()))
    grids = [[{"max_batch": size} for size in BATCHES]]
    if may_use_int8(package):
        grids.append([{INT8: 0}, {INT8: 1}])
    for grid in grids:
        best = max(last, key=rank)
        last = measured(folder, asked, requests, [best | change for change in grid])
        rows = rows + last
    return rows, max(last, key=rank)


def own_serving(package: Package) -> ServingConfig:
    """The environment over the package's own settings, without a profile: that of an earlier tuning decides nothing."""
    config = yaml.safe_load((package.folder / "config.yaml").read_text())
    own, here = config.get("serving", {}), environment_overrides().get("serving", {})
    return ServingConfig.model_validate(merged([Layer("environment", here), Layer("package", own)]))


def may_use_int8(package: Package) -> bool:
    """The package's gate passed, and its settings leave the precision open."""
    serving = own_serving(package)
    return package.spec.int8.passed and serving.precision == "auto" and engine_name(serving) != "torch"


def process_grid() -> Iterator[dict[str, float]]:
    """The cores as many workers, as one worker of many threads, and half way."""
    shares = {(cores(), 1), (1, cores()), (max(1, cores() // 2), max(1, cores() // max(1, cores() // 2)))}
    for workers, threads in sorted(shares, reverse=True):
        yield {"workers": workers, "threads": threads, "max_batch": 16, INT8: 0}


def measured(
    folder: Path, asked, requests: list[bytes], settings: Sequence[dict[str, float]]
) -> list[dict[str, float]]:
    """A row for each setting, medians of rounds in which they take turns."""
    full: list[list[Load]] = [[] for _ in settings]
    alone: list[list[Load]] = [[] for _ in settings]
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(started(folder, asked.system, requests[0], setting)) for setting in settings]
        for server in servers:
            closed_loop(server.port, requests, CLIENTS, 1.0)
        for number in range(asked.rounds):
            print(f"round {number + 1} of {asked.rounds}, {len(servers)} settings in turn", flush=True)
            for server, loads, lone in zip(servers, full, alone, strict=True):
                loads.append(closed_loop(server.port, requests, CLIENTS, asked.seconds))
                lone.append(closed_loop(server.port, requests, 1, 0.5))
    return [row_of(*one) for one in zip(settings, full, alone, strict=True)]


def started(folder: Path, system: str, request: bytes, setting: dict[str, float]):
    env = {f"VISIONOPS__SERVING__{name.upper()}": str(int(setting[name])) for name in SHAPE}
    env |= {"VISIONOPS__SERVING__MAX_QUEUE": str(16 * CLIENTS), "VISIONOPS_SYSTEM": system}
    if setting[INT8]:
        env["VISIONOPS__SERVING__PRECISION"] = "int8"
    log = folder / f"server-{'-'.join(str(int(value)) for value in setting.values())}.log"
    return ours(free_port(), int(setting["workers"]), folder, log, request, env)


def row_of(setting: dict[str, float], loads: Sequence[Load], lone: Sequence[Load]) -> dict[str, float]:
    row = {name: float(setting[name]) for name in (*SHAPE, INT8)}
    row["per_second"] = round(statistics.median(load.per_second for load in loads), 1)
    row["p95_ms"] = round(statistics.median(load.percentile_ms(95) for load in loads), 1)
    row["lone_p50_ms"] = round(statistics.median(load.percentile_ms(50) for load in lone), 2)
    print("  ".join(f"{name} {value:g}" for name, value in row.items()), flush=True)
    return row


def rank(row: dict[str, float]) -> tuple[float, float, float]:
    """Requests a second, in steps of 3 % (less is noise); then the package's own precision; then the shorter lone request."""
    return round(math.log(max(row["per_second"], 1e-9)) / math.log(1.03)), -row[INT8], -row["lone_p50_ms"]


def profile_of(package: Package, best: dict[str, float], rows: list[dict[str, float]]) -> ServingProfile:
    in_time = round(best["per_second"] / best["workers"] * QUEUE_S)
    max_queue = max(ServingConfig().max_queue, QUEUE_BATCHES * int(best["max_batch"]), in_time)
    return ServingProfile(
        device=device_name(cores()),
        package_sha=package.package_sha,
        engine=engine_name(own_serving(package)),
        workers=int(best["workers"]),
        threads=int(best["threads"]),
        max_batch=int(best["max_batch"]),
        int8=bool(best[INT8]),
        max_queue=min(4096, max_queue),
        measured=tuple(rows),
    )


if __name__ == "__main__":
    main()
