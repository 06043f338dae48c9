"""Golden images: file bytes, their preprocessed input, the model's outputs. A runtime proves itself on them."""

import io
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from vision.kinds import answering
from vision.package import Spec
from vision.preprocess import open_header, preprocess, upright_size
from vision.verdict import Verdict

GOLDEN = "golden"
TOLERANCE = 1e-3
"""Of outputs, absolute + relative: other runtimes and cores sum in another order. Inputs must agree bit for bit."""
TOLERANCES = {"float32": TOLERANCE, "bfloat16": 0.1, "int8": 0.5}
"""By the precision that an engine computes in. bfloat16 keeps 8 bits of a number, int8 fewer."""

Run = Callable[[np.ndarray], Mapping[str, np.ndarray]]
"""images uint8 [N, S, S, 3] -> outputs by name, float [N, ...]."""


def write_golden(package_folder: Path, files: Sequence[bytes], spec: Spec, run: Run) -> None:
    """Writes golden/<i>.<format> for each of `files` (bytes of images), golden/inputs.npy and golden/outputs.npz.

    Raises `ValueError` without files: nothing could be checked later.
    """
    if not files:
        raise ValueError("no golden images given")
    folder = package_folder / GOLDEN
    folder.mkdir(parents=True)
    inputs = np.stack([preprocess(data, spec.input, math.inf) for data in files])
    for index, data in enumerate(files):
        (folder / f"{index}.{_suffix(data)}").write_bytes(data)
    np.save(folder / "inputs.npy", inputs, allow_pickle=False)
    outputs = run(inputs)
    np.savez(folder / "outputs.npz", **{name: np.asarray(outputs[name], np.float32) for name in spec.outputs})


def golden_files(package_folder: Path) -> list[Path]:
    """The image files in their order."""
    files = [path for path in (package_folder / GOLDEN).iterdir() if path.suffix not in (".npy", ".npz")]
    return sorted(files, key=lambda path: int(path.stem))


def golden_sizes(package_folder: Path) -> list[tuple[int, int]]:
    """(width, height) of each image, upright."""
    return [upright_size(open_header(path.read_bytes(), math.inf)) for path in golden_files(package_folder)]


def golden_outputs(package_folder: Path) -> dict[str, np.ndarray]:
    with np.load(package_folder / GOLDEN / "outputs.npz", allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def check_golden(package_folder: Path, spec: Spec, run: Run, tolerance: float = TOLERANCE) -> Verdict:
    """Does this machine turn the golden bytes into the same inputs, and the inputs into the same answers?"""
    files = golden_files(package_folder)
    wanted_inputs = np.load(package_folder / GOLDEN / "inputs.npy", allow_pickle=False)
    if not files or len(files) != len(wanted_inputs):
        return Verdict(passed=False, reasons=(f"{len(files)} golden images for {len(wanted_inputs)} inputs",))
    inputs = np.stack([preprocess(path.read_bytes(), spec.input, math.inf) for path in files])
    reasons = _input_reasons(files, inputs, wanted_inputs)
    if reasons:
        return Verdict(passed=False, reasons=reasons)
    agreed, difference = answering(spec.kind).agree(run(inputs), golden_outputs(package_folder), tolerance)
    relation = "within" if agreed else "not within"
    figures = f"outputs of {len(files)} golden images differ by at most {difference:.2g}, {relation} {tolerance:g}"
    return Verdict(passed=agreed, reasons=(figures,))


def _input_reasons(files: Sequence[Path], inputs: np.ndarray, wanted: np.ndarray) -> tuple[str, ...]:
    if inputs.shape != wanted.shape:
        return (f"preprocessed shape {inputs.shape}, golden {wanted.shape}",)
    changed = [
        f"{path.name}: preprocessing differs from the golden input in {np.count_nonzero(got != want)} values"
        for path, got, want in zip(files, inputs, wanted, strict=True)
        if not np.array_equal(got, want)
    ]
    return tuple(changed)


def _suffix(data: bytes) -> str:
    with Image.open(io.BytesIO(data)) as image:
        return (image.format or "bin").lower()
