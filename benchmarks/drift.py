"""False-alarm rate and power of the drift test beside Evidently's defaults. The last line is JSON.

Images that no training step saw go through every corruption and severity, and through the service's own path from bytes to
records (once: the records are kept). Windows of 200 are drawn from them and judged against the images that are left, then
windows without drift from distributions that are known. Writes docs/drift.md and docs/drift.png. With records kept 12 minutes.
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
from benchmarks.drift_records import CASES, CLEAN, champion, drawn_anew, held_back, record_cases, trained_here
from configs.load import settings
from configs.monitoring import MonitorConfig
from vision.monitoring.corruptions import CORRUPTIONS
from vision.monitoring.families import worth_of_one

ROWS = 200
COST = 0.05
"""Accuracy points: a severity that costs as much must be found."""
FEW, MANY, CONTROLS = 20, 300, 600
"""Windows of a case; of the smallest severity of a corruption that costs COST; of the control. Of 300 all must be found for
99 % with 95 % confidence."""
BASELINE_WINDOWS, BASELINE_CONTROLS = 20, 200
DRAWN_EACH = 100
"""New drawn leaves of each class."""
SYSTEMS = ("cifar10", "tomato_leaf", "quickstart")
NULLS = {"quickstart": 1.0, "tomato_leaf": 0.5}
"""What is drawn without drift, independently and in families, and the share of the windows asked for: a window in families
takes twice as long."""
MOST_FALSE_ALARMS, LEAST_POWER = 0.015, 0.99


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
    null, config = {}, MonitorConfig()
    for system, share in NULLS.items():
        reference = pd.read_parquet(champion(settings().state.absolute(), system) / "reference.parquet")
        null[system] = null_rates(reference, round(asked.null_windows * share), ROWS, config, asked.workers)
    met = goals(found, null)
    about = {"rows": ROWS, "alpha": config.alpha, "cost": COST, "many": MANY, "seconds": round(time.time() - start)}
    write_page(found, null, met, about, asked.docs)
    print(json.dumps({"seconds": about["seconds"], "goals": met, "null": null, "systems": found}))


def goals(found: dict[str, dict], null: dict[str, dict]) -> list[dict]:
    """Each with what was measured, its bound, and whether it is met."""
    rate = null["quickstart"]["fresh"]["upper_95"]
    goal = "false alarms a window, drawn independent data, upper 95 % bound"
    met = [{"goal": goal, "measured": rate, "at_most": MOST_FALSE_ALARMS, "met": rate <= MOST_FALSE_ALARMS}]
    for system, one in found.items():
        for case in counted(one):
            goal = f"{system}: {case['corruption']} {case['severity']} found"
            power = case["ours"]
            met.append({"goal": goal, "measured": power, "at_least": LEAST_POWER, "met": power >= LEAST_POWER})
    return met


def shown_of(system: str, work: Path):
    state = settings().state.absolute()
    if system == "quickstart":
        return drawn_anew(state, system, DRAWN_EACH, work)
    return trained_here(work, system) if system == "cifar10" else held_back(state, system)


def measure(system: str, work: Path, workers: int) -> dict:
    """Accuracy of each case, what each judge found, and the smallest severities that cost something."""
    shown = shown_of(system, work)
    records = record_cases(shown, work, workers)
    accuracy = {case: float(table["right"].mean()) for case, table in records.items()}
    smallest = {name: smallest_costly(accuracy, name) for name in CORRUPTIONS}
    jobs = [job_of(case, smallest) for case in CASES]
    judged = partial(judge_case, records[CLEAN])
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        rates = list(pool.map(judged, jobs, [records[job.case] for job in jobs]))
    cases = [
        {"corruption": job.case[0], "severity": job.case[1], "accuracy": round(accuracy[job.case], 4), **rate}
        for job, rate in zip(jobs, rates, strict=True)
    ]
    return {
        "images": len(shown.rows),
        "families": int(shown.rows["family"].nunique()),
        "worth": worth_of_one(shown.rows),
        "cases": cases,
        "smallest": smallest,
    }


def smallest_costly(accuracy: dict[tuple[str, int], float], name: str) -> int | None:
    """The smallest severity that costs COST of the accuracy; None: none does."""
    costly = [severity for severity in range(1, 6) if accuracy[CLEAN] - accuracy[name, severity] >= COST]
    return min(costly, default=None)


def job_of(case: tuple[str, int], smallest: dict[str, int | None]) -> Job:
    if case == CLEAN:
        return Job(case, CONTROLS, BASELINE_CONTROLS)
    return Job(case, MANY if smallest[case[0]] == case[1] else FEW, BASELINE_WINDOWS)


def judge_case(clean: pd.DataFrame, job: Job, pool: pd.DataFrame) -> dict:
    """Share of windows called drifted by each judge, and how many were asked of ours."""
    source, config = Windows(clean, pool), MonitorConfig()
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
