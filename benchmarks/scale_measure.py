"""What docs/scale.md measures itself: `make bench-scale` (three minutes; a champion of quickstart in the state folder). The last line
is JSON, and `benchmarks/scale.yaml` gets it as its section `measured`.

record    bytes of one answer's line as the service writes it, with and without the image's features, and sealed
seal      memory that sealing takes for each byte of a log file, and CPU time for each row
families  CPU time of finding near-duplicates among hashes that are all different, at three numbers of them
flows     CPU time and memory of a run of `release_model` and of `monitor_drift` (with as many records as one of 1,000
          systems has in 15 minutes), and of the Prefect server that they speak to
"""

import argparse
import json
import os
import resource
import shutil
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import yaml

from benchmarks.process_tree import TreeWatch
from benchmarks.scale_records import SYSTEM, lines, write
from benchmarks.servers import server
from configs.load import settings
from configs.paths import StatePaths
from vision.records_seal import seal_closed
from vision.release import read_release

INPUTS = Path(__file__).with_name("scale.yaml")
LINES, SEALED = 20_000, (50_000, 200_000)
HASHES = (250_000, 500_000, 1_000_000)
WINDOW = 10_417
"""10^9 answers a day, of 1,000 systems, in a quarter of an hour."""
RUNS = 3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path(settings().state) / "scale")
    work = parser.parse_args().work.absolute()
    work.mkdir(parents=True, exist_ok=True)
    found = records(work) | alone(sealing, work) | alone(near_duplicates, work) | flows(work)
    found = {name: float(f"{value:.4g}") for name, value in found.items()}
    INPUTS.write_text(
        yaml.safe_dump(yaml.safe_load(INPUTS.read_text()) | {"measured": found}, sort_keys=False, width=120)
    )
    print(json.dumps(found))
    return 0


def alone(measure: Callable[[Path], dict[str, float]], work: Path) -> dict[str, float]:
    """In a process of its own, with a memory of its own."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(measure, work).result()


def records(work: Path, lines_written: int = LINES) -> dict[str, float]:
    """Through the service's own code, from an engine's outputs to the line, and through the sealer."""
    described, plain = lines(True), lines(False)
    folder = fresh(work / "records")
    write(folder, (described, plain), lines_written)
    grown = sum(path.stat().st_size for path in folder.rglob("*.ndjson"))
    (sealed,) = seal_closed(folder)
    return {
        "record_described_bytes": statistics.mean(map(len, described)),
        "record_plain_bytes": statistics.mean(map(len, plain)),
        "record_sealed_share": sealed.stat().st_size / grown,
    }


def sealing(work: Path) -> dict[str, float]:
    """The larger file after the smaller: what it takes more is of its own size."""
    both, peaks, cpu, sizes = (lines(True), lines(False)), [], [], []
    for count in SEALED:
        folder = fresh(work / "seal")
        write(folder, both, count)
        sizes.append(sum(path.stat().st_size for path in folder.rglob("*.ndjson")))
        start = time.process_time()
        seal_closed(folder)
        cpu.append(time.process_time() - start)
        peaks.append(1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    return {
        "seal_memory_share": (peaks[1] - peaks[0]) / (sizes[1] - sizes[0]),
        "seal_cpu_us": 1e6 * (cpu[1] - cpu[0]) / (SEALED[1] - SEALED[0]),
    }


def near_duplicates(work: Path) -> dict[str, float]:
    """seconds = linear * n + quadratic * n^2, from the three numbers; hashes of photographs lie closer, so this is the least."""
    import pandas as pd

    from vision.data.duplicates import near_duplicates as found

    cpu = []
    for count in HASHES:
        hashes = pd.Series([f"{value:016x}" for value in np.random.default_rng(count).integers(2**63, size=count)])
        start = time.process_time()
        for _ in found(hashes, 4):
            pass
        cpu.append(time.process_time() - start)
    counts = np.array(HASHES, dtype=float)
    linear, quadratic = np.linalg.lstsq(np.stack([counts, counts**2], axis=1), np.array(cpu), rcond=None)[0]
    return {"families_linear_us": 1e6 * linear, "families_quadratic_ps": 1e12 * quadratic}


def flows(work: Path) -> dict[str, float]:
    """Against a Prefect server on SQLite, one run after another; the first of each is not counted."""
    from tasks.packaging.smoke import HOST, free_port
    from tasks.stack.prefect import server_command

    state, answers = released(work)
    port = free_port()
    env = {
        "VISIONOPS_STATE": str(state),
        "PREFECT_HOME": str(fresh(work / "prefect")),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }
    env |= {"PREFECT_API_URL": f"http://{HOST}:{port}/api", "OMP_NUM_THREADS": "1"}
    ready = b"GET /api/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    found: dict[str, float] = {}
    with server(server_command(HOST, port)[1:], port, work / "prefect.log", ready, env) as prefect:
        empty = database_bytes(work)
        for name, flow in (("release", "release_model"), ("monitor", "monitor_drift")):
            runs = []
            for number in range(RUNS + 1):
                if name == "monitor":
                    write(StatePaths(state).records(SYSTEM), (answers,), WINDOW)
                before = prefect.cpu_s()
                used = run(flow, env, work)
                if number:
                    runs.append(used | {"server_cpu_s": prefect.cpu_s() - before})
            found |= {f"{name}_run_{key}": statistics.median(each[key] for each in runs) for key in runs[0]}
        found["run_database_kb"] = (database_bytes(work) - empty) / 1e3 / 2 / (RUNS + 1)
    return found | {"report_mb": report_mb(StatePaths(state).system(SYSTEM) / "monitor" / "windows")}


def database_bytes(work: Path) -> int:
    """Of Prefect's database, in pages that hold something."""
    with closing(sqlite3.connect(f"file:{work}/prefect/prefect.db?mode=ro", uri=True)) as database:
        count, free, size = (
            database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
    return (count - free) * size


def report_mb(windows: Path) -> float:
    """Of what MLflow gets of the last window."""
    last = max(windows.iterdir(), key=lambda folder: int(folder.name))
    return sum((last / name).stat().st_size for name in ("report.html", "evidently.html", "verdict.json")) / 1e6


def released(work: Path) -> tuple[Path, list[bytes]]:
    """A state folder with the champion's package and its release, nothing else; and lines of that package's answers."""
    here, there = StatePaths(Path(settings().state)), StatePaths(fresh(work / "state"))
    champion = read_release(here.release(SYSTEM)).champion
    shutil.copytree(here.package(SYSTEM, champion.package_sha), there.package(SYSTEM, champion.package_sha))
    shutil.copyfile(here.release(SYSTEM), there.release(SYSTEM))
    made = []
    for text in lines(True):
        row = json.loads(text) | {"package_sha": champion.package_sha, "model_version": champion.version}
        made.append(json.dumps(row).encode())
    return there.root, made


def run(flow: str, env: dict[str, str], work: Path) -> dict[str, float]:
    start = time.time()
    with (work / f"{flow}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", f"flows.{flow}", "--system", SYSTEM],
            env={**os.environ, **env},
            stdout=log,
            stderr=log,
        )
        with TreeWatch(process.pid) as watch:
            code = process.wait(300)
    if code:
        raise SystemExit(f"{flow} ended with {code}: {(work / f'{flow}.log').read_text()[-2000:]}")
    used = watch.between(start, time.time())
    return {name: used[name] for name in ("cpu_s", "memory_mib", "seconds")}


def fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


if __name__ == "__main__":
    sys.exit(main())
