"""False-alarm rate and power of the drift test beside Evidently's defaults. The last line is JSON.

Images that no training step saw go through every corruption and severity, and through the service's own path from bytes to
records (once: the records are kept). Windows of 200 are drawn from them and judged. Writes docs/drift.md and docs/drift.png.
"""

import argparse
import json
import shutil
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.drift_judges import JUDGES, Windows, evidently, ours
from benchmarks.drift_null import null_rates
from benchmarks.drift_page import counted, write_page
from benchmarks.drift_records import CASES, CLEAN, drawn_anew, held_back, record_cases, trained_here
from configs.load import settings
from configs.monitoring import MonitorConfig
from vision.monitoring.corruptions import CORRUPTIONS

ROWS = 200
COST = 0.05
"""Accuracy points: a severity that costs as much must be found."""
FEW, MANY = 20, 300
"""Windows of a case; of the smallest severity of a corruption that costs COST, and of the control. Of 300 all must be found
for 99 % with 95 % confidence."""
BASELINE_WINDOWS = 20
SYSTEMS = ("cifar10", "tomato_leaf", "quickstart")


@dataclass(frozen=True)
class Job:
    case: tuple[str, int]
    windows: int
    baselines: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=settings().state / "drift")
    parser.add_argument("--only", nargs="*", choices=SYSTEMS, default=SYSTEMS)
    parser.add_argument("--null-windows", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--fresh", action="store_true", help="record again what was recorded")
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="where drift.md and drift.png go")
    asked = parser.parse_args()
    start, work = time.time(), asked.work.absolute()
    if asked.fresh:
        shutil.rmtree(work, ignore_errors=True)
    found = {system: measure(system, work, asked.workers) for system in asked.only}
    reference = pd.read_parquet(shown_of("quickstart", work).package / "reference.parquet")
    null, config = null_rates(reference, asked.null_windows, ROWS, MonitorConfig(), asked.workers), MonitorConfig()
    about = {"rows": ROWS, "alpha": config.alpha, "reference": len(reference), "cost": COST}
    write_page(found, null, about, asked.docs)
    print(
        json.dumps({"seconds": round(time.time() - start), "null": null, "goals": goals(found, null), "systems": found})
    )


def goals(found: dict[str, dict], null: dict[str, dict]) -> dict:
    """At most 1.5 % false alarms with 95 % confidence, and 99 % of windows found at each counted severity."""
    power = {system: min((case["ours"] for case in counted(one)), default=None) for system, one in found.items()}
    return {"false_alarms_upper_95": null["fresh"]["upper_95"], "least_power": power}


def shown_of(system: str, work: Path):
    state = settings().state.absolute()
    if system == "quickstart":
        return drawn_anew(state, system, 100, work)
    return trained_here(work, system) if system == "cifar10" else held_back(state, system)


def measure(system: str, work: Path, workers: int) -> dict:
    """Accuracy of each case, what each judge found, and the smallest severities that cost something."""
    shown = shown_of(system, work)
    records = record_cases(shown, work, workers)
    reference = pd.read_parquet(shown.package / "reference.parquet")
    accuracy = {case: float(table["right"].mean()) for case, table in records.items()}
    smallest = {name: smallest_costly(accuracy, name) for name in CORRUPTIONS}
    jobs = [job_of(case, smallest) for case in CASES]
    judged = partial(judge_case, reference, shared=system != "quickstart")
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        rates = list(pool.map(judged, jobs, [records[job.case] for job in jobs]))
    cases = [
        {"corruption": job.case[0], "severity": job.case[1], "accuracy": round(accuracy[job.case], 4), **rate}
        for job, rate in zip(jobs, rates, strict=True)
    ]
    return {
        "reference_rows": len(reference),
        "families": int(reference["family"].nunique()),
        "images": len(shown.rows),
        "cases": cases,
        "smallest": smallest,
    }


def smallest_costly(accuracy: dict[tuple[str, int], float], name: str) -> int | None:
    """The smallest severity that costs COST of the accuracy; None: none does."""
    costly = [severity for severity in range(1, 6) if accuracy[CLEAN] - accuracy[name, severity] >= COST]
    return min(costly, default=None)


def job_of(case: tuple[str, int], smallest: dict[str, int | None]) -> Job:
    counts = case == CLEAN or smallest[case[0]] == case[1]
    return Job(case, MANY if counts else FEW, BASELINE_WINDOWS * (5 if case == CLEAN else 1))


def judge_case(reference: pd.DataFrame, job: Job, pool: pd.DataFrame, shared: bool) -> dict:
    """Share of windows called drifted by each judge, and how many were asked of ours."""
    source, config = Windows(reference, pool, shared), MonitorConfig()
    found: dict[str, list[bool]] = {name: [] for name in JUDGES}
    for no in range(job.windows):
        rest, window = source.draw(ROWS, no)
        found["ours"].append(ours(rest, window, config, no))
        if no < job.baselines:
            for name, drifted in evidently(rest, window, no).items():
                found[name].append(drifted)
    rates = {name: float(np.mean(values)) for name, values in found.items()}
    return {"windows": job.windows, "baseline_windows": job.baselines, **rates, "interval": interval(found["ours"])}


def interval(alarms: list[bool], draws: int = 2000) -> tuple[float, float]:
    """Bootstrap over the windows, 95 %. They share images, so as many windows of new ones would vary more."""
    rng, values = np.random.default_rng(0), np.array(alarms)
    means = values[rng.integers(len(values), size=(draws, len(values)))].mean(axis=1)
    return tuple(float(edge) for edge in np.quantile(means, (0.025, 0.975)))


if __name__ == "__main__":
    main()
