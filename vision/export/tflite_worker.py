"""Runs in TensorFlow Lite's own environment (vision/export/tflite.txt), as a script: no other module of ours is there.

    tflite_worker.py convert GRAPH.onnx CALIBRATION.npy OUT.tflite
    tflite_worker.py serve MODEL.tflite

`serve` writes the outputs' names, then takes arrays uint8 [N, S, S, 3] on stdin and answers each with one array an output.
"""

import io
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import BinaryIO

import numpy as np

QUANTISED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "ADD", "MAX_POOL_2D", "MEAN")
"""Layers in eight bits. Normalisation stays in float: its constants are of another rank than the quantiser takes."""


def convert(graph: Path, calibration: Path, out: Path) -> None:
    """ONNX with a batch of one -> float TFLite -> eight-bit weights and activations, ranges from `calibration`."""
    from ai_edge_quantizer import qtyping, quantizer

    with tempfile.TemporaryDirectory() as scratch:
        plain = _float_tflite(graph, Path(scratch))
        made = quantizer.Quantizer(str(plain))
        for name in QUANTISED:
            operation = qtyping.TFLOperationName[name]
            made.add_static_config(regex=".*", operation_name=operation, activation_num_bits=8, weight_num_bits=8)
        signature, source = _signature(plain)
        ranges = made.calibrate({signature: [{source: image[None]} for image in np.load(calibration)]})
        made.quantize(ranges).export_model(str(out), overwrite=True)


def _float_tflite(graph: Path, scratch: Path) -> Path:
    """onnx2tf simplifies its input in place, so it gets a copy: with a batch of one, which phones run."""
    import onnx

    model = onnx.load(graph)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].Clear()
        value.type.tensor_type.shape.dim[0].dim_value = 1
    del model.graph.value_info[:]
    onnx.save(model, scratch / "model.onnx")
    source = model.graph.input[0].name
    # -kat: without it the three colours would be taken for the second axis, as most ONNX graphs have them.
    command = [
        str(Path(sys.executable).parent / "onnx2tf"),
        "-i",
        str(scratch / "model.onnx"),
        "-o",
        str(scratch / "out"),
    ]
    done = subprocess.run([*command, "-n", "-kat", source], capture_output=True, text=True, check=False)
    found = scratch / "out" / "model_float32.tflite"
    if done.returncode or not found.is_file():
        raise SystemExit(f"onnx2tf: {(done.stderr or done.stdout).strip()[-1500:]}")
    return found


def serve(model: Path) -> None:
    interpreter = _open(model)
    signature, ends = next(iter(interpreter.get_signature_list().items()))
    runner, (source,), names = interpreter.get_signature_runner(signature), ends["inputs"], sorted(ends["outputs"])
    sys.stdout.buffer.write(json.dumps(names).encode() + b"\n")
    sys.stdout.buffer.flush()
    while (images := receive(sys.stdin.buffer)) is not None:
        found = [{name: rows.copy() for name, rows in runner(**{source: image[None]}).items()} for image in images]
        for name in names:
            send(sys.stdout.buffer, np.concatenate([one[name] for one in found]))


def send(stream: BinaryIO, array: np.ndarray) -> None:
    """One array through a pipe: its length in eight bytes, then npy (numpy itself reads only files that it can seek)."""
    packed = io.BytesIO()
    np.save(packed, array, allow_pickle=False)
    stream.write(len(packed.getvalue()).to_bytes(8, "big") + packed.getvalue())
    stream.flush()


def receive(stream: BinaryIO) -> np.ndarray | None:
    """None at the stream's end."""
    size = stream.read(8)
    return np.load(io.BytesIO(stream.read(int.from_bytes(size, "big"))), allow_pickle=False) if size else None


def _signature(model: Path) -> tuple[str, str]:
    signature, ends = next(iter(_open(model).get_signature_list().items()))
    return signature, ends["inputs"][0]


def _open(model: Path):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(model), num_threads=1)
    interpreter.allocate_tensors()
    return interpreter


if __name__ == "__main__":
    if sys.argv[1] == "convert":
        convert(*map(Path, sys.argv[2:5]))
    else:
        serve(Path(sys.argv[2]))
