"""Which cause the diagnosis names for a change that is known, and how far each estimate of accuracy is off.

Quickstart's champion looks at leaves drawn anew: windows of 200 records, `--windows` of each change; then the estimators of
`vision.monitoring.performance` on every corruption and severity, of real images too where that system has been trained.
The last line is JSON.
"""

import argparse
import collections
import io
import json
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from benchmarks.drift_records import champion, drawn_anew, held_back, record_cases, records
from configs.load import settings
from configs.monitoring import MonitorConfig
from vision.data.synthetic.dataset import image_seed
from vision.data.synthetic.leaves import CLASSES, EXTRA_CLASS, draw_leaf
from vision.data.synthetic.scene import encode, jpeg_quality
from vision.export.runtime import onnx_run
from vision.monitoring.diagnosis import diagnose
from vision.monitoring.drift import find_drift
from vision.monitoring.performance import ESTIMATORS, estimate_accuracy
from vision.package import open_package

ROWS, LABELLED, SEED, SIDE_PX = 200, 80, 77_001, 160
CONFIG = MonitorConfig()
POOLS = {
    "field": (CLASSES, "field", SIDE_PX, 6),
    "dark": (CLASSES, "dark", SIDE_PX, 2),
    "other camera": (CLASSES, "other_camera", SIDE_PX, 2),
    "half size": (CLASSES, "field", SIDE_PX // 2, 2),
    "new class": ((EXTRA_CLASS,), "field", SIDE_PX, 4),
}
"""Labels, scene, side, and how many times 40 images there are of each label."""
GIVEN = {
    "no change": "none", "dark": "covariate_shift", "other camera": "covariate_shift",
    "20 % new class": "unseen_class", "40 % new class": "unseen_class", "one class 55 %": "class_frequency_shift",
    "one class 70 %": "class_frequency_shift", "10 % blank": "pipeline_fault", "half size": "pipeline_fault",
    "25 % one image": "pipeline_fault", "labels moved in 20 %": "accuracy_drop", "labels of hard images": "none",
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--windows", type=int, default=20)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    state = Path(settings().state)
    reference = pd.read_parquet(champion(state, "quickstart") / "reference.parquet")
    pools = record_pools(state, asked.work, asked.workers)
    found = {
        given: collections.Counter(cause(reference, pools, given, seed) for seed in range(asked.windows))
        for given in GIVEN
    }
    print(pd.DataFrame(found).T.fillna(0).astype(int).to_string())
    errors = {system: estimate_errors(state, system, asked) for system in ("quickstart", "tomato_leaf")}
    right = {given: found[given][wanted] / asked.windows for given, wanted in GIVEN.items()}
    print(json.dumps({"benchmark": "causes", "right": right, "mean_absolute_error": errors}))


def record_pools(state: Path, work: Path, workers: int) -> dict[str, pd.DataFrame]:
    """Records of each pool with `label`, drawn once and kept in `work`."""
    package = open_package(champion(state, "quickstart"))
    work.mkdir(parents=True, exist_ok=True)
    run = onnx_run(package.folder / "model.onnx", 1)
    pools = {"blank": records(blank_files(100), package, run)}
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for name, (labels, scene, side_px, times) in POOLS.items():
            path = work / f"{package.folder.name[:12]}-{name.replace(' ', '_')}.parquet"
            if not path.is_file():
                jobs = [
                    (label, image_seed(SEED, label, i), side_px, scene) for label in labels for i in range(40 * times)
                ]
                files = list(pool.map(leaf_file, jobs, chunksize=16))
                parts = [records(files[i : i + 32], package, run) for i in range(0, len(files), 32)]
                pd.concat(parts, ignore_index=True).assign(truth=[job[0] for job in jobs]).to_parquet(path)
            pools[name] = pd.read_parquet(path)
    return pools


def leaf_file(job: tuple[str, int, int, str]) -> bytes:
    label, seed, side_px, scene = job
    return encode(draw_leaf(label, seed, side_px, scene)[0], jpeg_quality(seed, scene))


def blank_files(count: int) -> list[bytes]:
    """A lens cap before a sensor with some noise."""
    rng, files = np.random.default_rng(0), []
    for _ in range(count):
        stream = io.BytesIO()
        pixels = rng.normal(2, 0.8, (SIDE_PX, SIDE_PX, 3)).clip(0, 255)
        Image.fromarray(pixels.astype(np.uint8)).save(stream, "JPEG", quality=90)
        files.append(stream.getvalue())
    return files


def window_of(pools: dict[str, pd.DataFrame], given: str, seed: int) -> pd.DataFrame:
    rng, field = np.random.default_rng(seed), pools["field"]

    def take(name: str, rows: int) -> pd.DataFrame:
        return pools[name].sample(rows, random_state=seed)

    if given in ("dark", "other camera", "half size"):
        parts = [take(given, ROWS)]
    elif given.startswith("one class"):
        most = int(given.split()[2]) * ROWS // 100
        sizes = rng.permutation([most, *[(ROWS - most) // 3] * 3])
        parts = [
            field[field["truth"] == label].sample(size, random_state=seed)
            for label, size in zip(CLASSES, sizes, strict=True)
        ]
    else:
        other = {"new class": "new class", "blank": "blank"}.get(given.partition(" % ")[2])
        rows = int(given.split()[0]) * ROWS // 100 if given[0].isdigit() else 0
        parts = [take("field", ROWS - rows)]
        parts += [take(other, rows)] if other else [parts[0].iloc[:1]] * rows
    window = pd.concat(parts).sample(frac=1, random_state=seed).reset_index(drop=True)
    return window.assign(id=window.index.astype(str))


def feedback_of(window: pd.DataFrame, given: str, seed: int) -> pd.DataFrame | None:
    if not given.startswith("labels"):
        return None
    hard = "hard" in given
    asked = window.nsmallest(LABELLED, "answer_confidence") if hard else window.sample(LABELLED, random_state=seed)
    following = dict(zip(CLASSES, (*CLASSES[1:], CLASSES[0]), strict=True))
    moved = (np.random.default_rng(seed).random(LABELLED) < 0.2) & (not hard)
    labels = np.where(moved, asked["truth"].map(following), asked["truth"])
    return pd.DataFrame({"id": asked["id"], "label": labels, "key_id": "benchmark"})


def cause(reference: pd.DataFrame, pools: dict[str, pd.DataFrame], given: str, seed: int) -> str:
    window = window_of(pools, given, seed)
    feedback = feedback_of(window, given, seed)
    shown = window.drop(columns="truth")
    return diagnose(reference, shown, find_drift(reference, shown, CONFIG, seed), feedback, CONFIG, CLASSES).cause


def estimate_errors(state: Path, system: str, asked: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Estimator -> mean absolute error over all cases, and over those that cost at most 10 points. Empty if not trained."""
    if not (state / "systems" / system / "release.json").is_file():
        return {}
    new = system == "quickstart"
    shown = drawn_anew(state, system, 120, asked.work) if new else held_back(state, system)
    reference = pd.read_parquet(shown.package / "reference.parquet")
    rows = []
    for seed in range(4):
        known, unseen = (reference, None) if new else halves(reference, seed)
        for table in record_cases(shown, asked.work, asked.workers).values():
            table = table if unseen is None else table[table["family"].isin(unseen)]
            rows.append(errors_of(known, table.sample(min(ROWS, len(table)), random_state=seed)))
    table = pd.DataFrame(rows)
    mild = table.pop("cost") <= 0.1
    print(f"{system}: {len(table)} windows, {int(mild.sum())} that cost at most 10 points")
    print(pd.DataFrame({"all": table.mean(), "mild": table[mild].mean()}).T.round(3).to_string())
    return {"all": table.mean().round(4).to_dict(), "mild": table[mild].mean().round(4).to_dict()}


def halves(reference: pd.DataFrame, seed: int) -> tuple[pd.DataFrame, set[str]]:
    """Half of the families as the reference, the names of the others: held-back images can't be both."""
    families = np.random.default_rng(seed).permutation(reference["family"].unique())
    first = set(families[: len(families) // 2])
    return reference[reference["family"].isin(first)], set(families) - first


def errors_of(known: pd.DataFrame, window: pd.DataFrame) -> dict[str, float]:
    sure, right = known["answer_confidence"].to_numpy(), (known["label"] == known["answer_label"]).to_numpy()
    truly, seen = window["right"].mean(), window["answer_confidence"].to_numpy(float)
    errors = {name: abs(estimator(sure, right, seen) - truly) for name, estimator in ESTIMATORS.items()}
    ours = estimate_accuracy(known, window, CONFIG)
    covered = float(ours.low <= truly <= ours.high)
    return {**errors, "DoC less novelty": abs(ours.value - truly), "covered": covered, "cost": right.mean() - truly}


if __name__ == "__main__":
    main()
