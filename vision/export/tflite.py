"""TFLite INT8 for phones, made and run in an environment of its own: its libraries don't go with torch's and ours."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from vision.errors import MachineError
from vision.export.golden import Run
from vision.export.tflite_worker import receive, send
from vision.package import sha256_file

REQUIREMENTS = Path(__file__).with_name("tflite.txt")
WORKER = Path(__file__).with_name("tflite_worker.py")
"""Run with -P: beside it lies an `onnx.py`, which is not the library."""
PYTHON = "3.12"
"""onnx2tf asks for it."""
INSTALL_TIMEOUT_S, CONVERT_TIMEOUT_S = 900, 600
TAIL_CHARS = 800


def tflite_python(home: Path) -> Path:
    """The interpreter of the environment in `home`, made there when it isn't (0.5 GB, of `tflite.txt`, by uv).

    Raises `MachineError` when it can't be made: no Python 3.12, no package index.
    """
    folder = home / f"tflite-{sha256_file(REQUIREMENTS)[:12]}"
    python = folder / "bin" / "python"
    if (folder / "whole").is_file():
        return python
    home.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder, ignore_errors=True)  # a killed install's
    _uv(
        ["venv", "--python", PYTHON, str(folder)],
        f"a Python {PYTHON} on the PATH, or a network that uv may fetch one by",
    )
    _uv(["pip", "install", "--python", str(python), "-r", str(REQUIREMENTS)], "a package index (UV_INDEX_URL or pip's)")
    (folder / "whole").touch()
    return python


def convert_tflite(python: Path, model: Path, images: np.ndarray, out: Path) -> None:
    """Writes `model` (an ONNX graph, left as it is) in eight bits to `out`. images: uint8 [N, S, S, 3] of training.

    Raises `MachineError` with what the converter said.
    """
    calibration = out.with_name(f".{out.name}.calibration.npy")
    np.save(calibration, images)
    try:
        command = [str(python), "-P", str(WORKER), "convert", str(model), str(calibration), str(out)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=CONVERT_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise _failed(f"no end in {CONVERT_TIMEOUT_S} s") from None
    finally:
        calibration.unlink(missing_ok=True)
    if done.returncode or not out.is_file():
        raise _failed((done.stderr or done.stdout).strip()[-TAIL_CHARS:])


@contextmanager
def tflite_run(python: Path, model: Path) -> Iterator[Run]:
    """`model` as a function of images, one at a time in its own process with one thread, until the block ends."""
    command = [str(python), "-P", str(WORKER), "serve", str(model)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            names = json.loads(process.stdout.readline() or "[]")
            if not names:
                raise _failed("LiteRT could not open the model")

            def run(images: np.ndarray) -> Mapping[str, np.ndarray]:
                send(process.stdin, np.ascontiguousarray(images))
                return {name: receive(process.stdout) for name in names}

            yield run
        finally:
            process.stdin.close()
            process.terminate()


def _uv(words: list[str], needs: str) -> None:
    command = [sys.executable, "-m", "uv", *words, "--quiet"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False)
        said = done.stderr.strip()[-TAIL_CHARS:] if done.returncode else ""
    except subprocess.TimeoutExpired:
        said = f"no end in {INSTALL_TIMEOUT_S} s"
    if said:
        raise MachineError(
            f"TFLite's environment could not be made: {said}", needs, "or leave tflite out of PRECISIONS"
        )


def _failed(said: str) -> MachineError:
    return MachineError(f"TFLite: {said}", "a graph that onnx2tf converts", "leave tflite out of PRECISIONS")
