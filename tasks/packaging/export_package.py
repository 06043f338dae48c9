"""The champion as files for elsewhere, each proved in its own runtime before anything is handed over."""

import math
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.run import Run
from vision.errors import MachineError, UserError
from vision.package import INT8_MODEL, InputSpec, Package, sha256_file

if TYPE_CHECKING:
    from vision.export.handover import Proof

PRECISIONS = ("onnx", "int8", "tflite")
TFLITE_MODEL = "model.int8.tflite"
CALIBRATION_SEED = 0


@task(name="export-package", cache_policy=NO_CACHE, persist_result=False, tags=["export"])
def export_package(run: Run, package: Package, precisions: Sequence[str], to: Path | None = None) -> dict[str, Any]:
    """Writes the folder (default: exports/<package_sha> in the system's own) whole or not at all.

    Raises `UserError` for a folder that holds something else, `MachineError` when a file doesn't answer as the package.
    """
    from vision.export.handover import WRITTEN, table_lines, write_rest

    target = (to or run.folder / "exports" / package.package_sha[:12]).absolute()
    if target.exists() and not (target / WRITTEN).is_file():
        raise UserError(
            f"TO={target} is there and is no export", "a new folder, or an earlier export", "choose another TO"
        )
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # a killed run's
    partial.mkdir(parents=True)
    try:
        proofs, notes = [], {}
        for name in precisions:
            made, why = MAKERS[name](run, package, partial)
            proofs += made
            notes |= {name: why} if why else {}
        write_rest(package, partial, proofs, notes)
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    left = [f"{name}: left out, {why}" for name, why in notes.items()]
    text = "\n".join([f"package {package.package_sha[:12]} in {target}", *table_lines(proofs), *left])
    return {"text": text, "folder": str(target), "left_out": notes}


def _onnx(run: Run, package: Package, folder: Path) -> tuple[list["Proof"], str]:
    return _graph(package, folder, "model.onnx", "onnx", "float32"), ""


def _int8(run: Run, package: Package, folder: Path) -> tuple[list["Proof"], str]:
    from vision.export.handover import int8_refusal

    why = int8_refusal(package, run.config.export.int8_max_drop)
    return ([], why) if why else (_graph(package, folder, INT8_MODEL, "int8", "int8"), "")


def _graph(package: Package, folder: Path, file: str, name: str, precision: str) -> list["Proof"]:
    """The graph in both runtimes that servers have. Raises `MachineError` when one doesn't answer as the package says."""
    from importlib.util import find_spec

    from vision.export.handover import prove
    from vision.export.runtime import onnx_run

    shutil.copyfile(package.folder / file, folder / file)
    proofs = [prove(package, folder / file, onnx_run(folder / file), name, "ONNX Runtime", precision)]
    if find_spec("openvino") is not None:
        from vision.export.runtime_openvino import openvino_run

        found, _ = openvino_run(folder / file, precision)
        proofs.append(prove(package, folder / file, found, name, "OpenVINO", precision))
    for proof in proofs:
        if not proof.passed:
            raise MachineError(
                f"{file} does not answer the golden images in {proof.runtime}: {proof.why}",
                "the answers that the package says",
                "install the locked versions, or train again; nothing was handed over",
            )
    return proofs


def _tflite(run: Run, package: Package, folder: Path) -> tuple[list["Proof"], str]:
    """Converted now, from the system's own images, and held to the recall of the float graph on held-back images."""
    from vision.export.class_loss import judge_losses, losses
    from vision.export.handover import prove
    from vision.export.runtime import onnx_run
    from vision.export.tflite import convert_tflite, tflite_python, tflite_run

    calibration, held = _images(run, package)
    python = tflite_python(run.state.root / "environments")
    convert_tflite(python, package.folder / "model.onnx", calibration, folder / TFLITE_MODEL)
    with tflite_run(python, folder / TFLITE_MODEL) as found:
        rows = [_rows(one, package, *held) for one in (onnx_run(package.folder / "model.onnx"), found)]
        loss = judge_losses(losses(*rows), run.config.export.int8_max_drop)
        proof = prove(package, folder / TFLITE_MODEL, found, "tflite", "LiteRT", None)
    why = f"{loss.reason}; {proof.why}"
    if not loss.passed or not proof.passed:
        (folder / TFLITE_MODEL).unlink()
        return [], why
    return [proof.model_copy(update={"why": why})], ""


MAKERS: dict[str, Callable[[Run, Package, Path], tuple[list["Proof"], str]]] = {
    "onnx": _onnx,
    "int8": _int8,
    "tflite": _tflite,
}


@dataclass(frozen=True)
class Inputs:
    """What a model sees of n image files, read when asked for: `inputs[a:b]` is uint8 [b - a, S, S, 3]."""

    folder: Path
    paths: Sequence[str]
    spec: InputSpec

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, part: slice) -> np.ndarray:
        from vision.preprocess import preprocess

        files = [(self.folder / path).read_bytes() for path in self.paths[part]]
        return np.stack(
            [preprocess(data, self.spec, math.inf) for data in files]
        )  # their size was accepted by the training


def _images(run: Run, package: Package) -> tuple[np.ndarray, tuple[Inputs, pd.DataFrame]]:
    """Inputs to calibrate on (images that the package's reference does not have), and held-back inputs with their rows."""
    from vision.data.manifest import list_images

    rows = pd.read_parquet(package.folder / "reference.parquet")
    there = [
        (run.dataset_folder / row.path).is_file() and sha256_file(run.dataset_folder / row.path) == row.sha256
        for row in rows.itertuples()
    ]
    listed = list_images(run.dataset_folder)["path"] if run.dataset_folder.is_dir() else pd.Series(dtype=object)
    others = sorted(set(listed) - set(rows["path"]))
    if not all(there) or not others:
        raise UserError(
            f"TFLite's ranges and its gate need the images of the package: {len(there) - sum(there)} of {len(there)} held-back"
            f" and {'no' if not others else 'some'} other ones are in {run.dataset_folder}",
            "the data that the package was trained on",
            f"make train SYSTEM={run.config.system} on this machine, or leave tflite out of PRECISIONS",
        )
    spec, shuffled = package.spec.input, np.random.default_rng(CALIBRATION_SEED).permutation(others).tolist()
    calibration = _readable(Inputs(run.dataset_folder, shuffled, spec), run.config.export.calibration_images)
    return calibration, (Inputs(run.dataset_folder, rows["path"].tolist(), spec), rows)


def _readable(inputs: Inputs, most: int) -> np.ndarray:
    """The first of them, without files that are no image: a contract may let some through."""
    from vision.preprocess import ImageError

    found: list[np.ndarray] = []
    for place in range(len(inputs)):
        if len(found) == most:
            break
        with suppress(ImageError):
            found.append(inputs[place : place + 1])
    return np.concatenate(found)


def _rows(found: Callable, package: Package, images: Inputs, rows: pd.DataFrame) -> pd.DataFrame:
    from vision.evaluation.config import EvaluationConfig
    from vision.export.parity import all_outputs
    from vision.kinds import answering, learning

    outputs = all_outputs(found, images, answering(package.spec.kind))
    config = EvaluationConfig(bootstrap_samples=100)
    return learning(package.spec.kind).evaluate(outputs, rows, package.spec, config).rows
