"""What the service would have written down about images that a corruption went over: from bytes to a table of records."""

import io
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from PIL import Image

from vision.data.config import DrawnSource
from vision.data.features import measure_image
from vision.data.synthetic.dataset import draw_dataset
from vision.kinds import answering
from vision.monitoring.corruptions import CORRUPTIONS, corrupt
from vision.package import Package, open_package
from vision.preprocess import decode_opened, open_header, preprocess
from vision.records import record_line
from vision.records_read import lines, to_table
from vision.release import RELEASE, Release

BATCH = 32
LOST_GATE = 3
CLEAN = ("clean", 0)
"""The control: decoded and stored again like all others, and nothing else."""
CASES = (CLEAN, *((name, severity) for name in CORRUPTIONS for severity in range(1, 6)))


@dataclass(frozen=True)
class Shown:
    """Images that no training step saw. `rows`: path, label, family; paths start at `root`."""

    system: str
    package: Path
    root: Path
    rows: pd.DataFrame


def champion(state: Path, system: str) -> Path:
    """The package's folder."""
    folder = state / "systems" / system
    return folder / Release.model_validate_json((folder / RELEASE).read_text()).champion.uri


def held_back(state: Path, system: str) -> Shown:
    """The images of the champion's own reference."""
    package = champion(state, system)
    rows = pd.read_parquet(package / "reference.parquet")[["path", "label", "family"]]
    return Shown(system, package, state / "datasets" / system, rows)


def drawn_anew(state: Path, system: str, each: int, work: Path) -> Shown:
    """New leaves of another seed than any that the system was made from; each a family of its own."""
    root = work / "drawn"
    root.mkdir(parents=True, exist_ok=True)
    draw_dataset(DrawnSource(type="drawn", images_per_class=each, seed=90_007), root)
    paths = sorted(path.relative_to(root) for path in (root / "images").glob("*/*.jpg"))
    rows = [{"path": str(path), "label": path.parent.name, "family": str(path)} for path in paths]
    return Shown(system, champion(state, system), root, pd.DataFrame(rows))


def record_cases(shown: Shown, work: Path, workers: int) -> dict[tuple[str, int], pd.DataFrame]:
    """(corruption, severity) -> records of all images, `right` and `family` beside them. Kept in `work`."""
    folder = work / f"{shown.system}-{shown.package.name[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {case: folder / f"{case[0]}_{case[1]}_{len(shown.rows)}.parquet" for case in CASES}
    missing = {case: path for case, path in wanted.items() if not path.is_file()}
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        jobs = {case: pool.submit(record_case, shown, case) for case in missing}
        for case, job in jobs.items():
            partial = missing[case].with_suffix(".partial")
            job.result().to_parquet(partial)
            partial.replace(missing[case])
            print(f"{shown.system}: {case[0]} {case[1]}", flush=True)
    return {case: pd.read_parquet(path) for case, path in wanted.items()}


def record_case(shown: Shown, case: tuple[str, int]) -> pd.DataFrame:
    from vision.export.runtime import onnx_run

    package = open_package(shown.package)
    run, tables = onnx_run(package.folder / "model.onnx", threads=1), []
    for start in range(0, len(shown.rows), BATCH):
        rows = shown.rows.iloc[start : start + BATCH]
        files = [
            spoilt((shown.root / row.path).read_bytes(), case, start + i) for i, row in enumerate(rows.itertuples())
        ]
        table = records(files, package, run)
        table["right"] = table["answer_label"].to_numpy() == rows["label"].to_numpy()
        tables.append(table.assign(true_label=rows["label"].to_numpy(), family=rows["family"].to_numpy()))
    return pd.concat(tables, ignore_index=True)


def spoilt(data: bytes, case: tuple[str, int], seed: int) -> bytes:
    """The file as the same camera would have stored it: a JPEG with the tables of the original, so that the bytes of a
    file tell no more than the pixels do."""
    image = open_header(data)
    tables, sampling = image.quantization, _sampling(image)
    pixels = np.asarray(decode_opened(image))
    if case != CLEAN:
        pixels = corrupt(pixels, *case, seed)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", qtables=tables, subsampling=sampling)
    return stream.getvalue()


def _sampling(image: Image.Image) -> int:
    from PIL import JpegImagePlugin

    return JpegImagePlugin.get_sampling(image)


def records(files: Sequence[bytes], package: Package, run) -> pd.DataFrame:
    """The service's own path: decode, measure, answer, write the line; and the reader's back to a table."""
    images = [decode_opened(open_header(data)) for data in files]
    outputs = run(np.stack([preprocess(data, package.spec.input) for data in files]))
    kind = answering(package.spec.kind)
    answers = kind.answers(outputs, package.spec, [image.size for image in images], top_k=1)
    written = b"".join(
        record_line(_fields(measure_image(image, data), answer, vector))
        for image, data, answer, vector in zip(images, files, answers, outputs["embedding"], strict=True)
    )
    found = list(lines(written))
    return to_table([row for row, _ in found], [end for _, end in found])


def _fields(features: dict[str, float], answer: dict, embedding: np.ndarray) -> dict:
    said = {name: value for name, value in answer.items() if name not in ("confidence", "confident")}
    return {
        "id": "", "at": datetime.now(UTC), "package_sha": "", "model_version": 1, "release_no": 0, "route": "champion",
        "batch_size": 1, "queue_ms": 0.0, "compute_ms": 0.0, "features": features, "embedding": embedding,
        "answer": said, "confidence": answer["confidence"], "confident": answer["confident"],
    }  # fmt: skip


def trained_here(work: Path, system: str) -> Shown:
    """A system of real images that have no families, trained by the flow itself in a state folder of its own."""
    state = work / "state"
    packages = state / "systems" / system / "packages"
    if not any(packages.glob("*/MANIFEST.json")):
        train(work, state, system)
    package = next(packages.glob("*/MANIFEST.json")).parent
    rows = pd.read_parquet(package / "reference.parquet")[["path", "label", "family"]]
    return Shown(system, package, state / "datasets" / system, rows)


def train(work: Path, state: Path, system: str) -> None:
    """Its gate asks for the impossible, so the flow ends before registry and bento; the package is there by then."""
    state.mkdir(parents=True, exist_ok=True)
    stages = [{"name": "all", "epochs": 12, "trainable": "all", "lr": 2.0e-3}]
    config = {
        "system": system, "title": "CIFAR-10, as the drift benchmark trains it", "kind": "classify",
        "data": {
            "source": {"type": "folder", "path": "cifar10/train"},
            "split": {"train": 0.6, "val": 0.2, "test": 0.2, "near_duplicate_bits": 0},
        },
        "input": {"side_px": 32, "resize_px": 32},
        "model": {"arch": "resnet18", "weights": "random"},
        "training": {
            "batch_size": 64, "precision": "float32", "cpus_per_worker": 1, "stages": stages, "stages_from_scratch": stages,
        },
        "gate": {"minimum": {"accuracy": 1.0}},
    }  # fmt: skip
    path = work / f"{system}.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    folders = {"VISIONOPS_STATE": state, "PREFECT_HOME": state / "prefect", "BENTOML_HOME": state / "bentoml"}
    env = {**os.environ, **{name: str(folder) for name, folder in folders.items()}}
    command = [sys.executable, "-m", "flows.train_model", "--system", str(path), "--reason", "benchmark"]
    ended = subprocess.run(command, env=env, check=False)
    if ended.returncode != LOST_GATE:
        raise RuntimeError(f"training {system} ended with {ended.returncode}")
