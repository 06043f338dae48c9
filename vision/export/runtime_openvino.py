"""`model.onnx` by OpenVINO on the CPU: twice ONNX Runtime's speed where the processor computes in bfloat16."""

from collections.abc import Mapping
from pathlib import Path
from threading import local

import numpy as np

from vision.errors import UserError
from vision.export.golden import Run

HINTS = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}
"""What layers that are not quantised compute in."""
UNPINNED = {"ENABLE_CPU_PINNING": False}
"""With pinning, the workers of one machine would all take the same first cores. For every model that is compiled: threads
that one has pinned are used for the next, whatever that asks for.
"""


def openvino_run(path: Path, precision: str = "auto", threads: int = 0) -> tuple[Run, str]:
    """The graph at `path` as a function of images, and the precision that it computes in. threads: 0 for all.

    `auto`: bfloat16 where the processor has it in hardware (AMX, avx512_bf16), else float32. `int8`: a quantised graph.
    The function may be called from several threads at once. Raises `UserError` for bfloat16 on a processor that would
    only imitate it.
    """
    import openvino

    core = openvino.Core()
    model = core.read_model(path)
    found = _precision(core, model, precision)
    options = {
        "INFERENCE_PRECISION_HINT": HINTS[found],
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        **UNPINNED,
    }
    compiled = core.compile_model(model, "CPU", options)
    names, own = tuple(output.any_name for output in compiled.outputs), local()

    def run(images: np.ndarray) -> Mapping[str, np.ndarray]:
        # Each thread has a request of its own: one request can't run twice at a time.
        request = getattr(own, "request", None)
        if request is None:
            request = own.request = compiled.create_infer_request()
        outputs = request.infer(np.ascontiguousarray(images), share_inputs=True)
        return dict(zip(names, outputs.values(), strict=True))

    return run, found


def _precision(core, model, wanted: str) -> str:
    """What OpenVINO itself would take on this processor tells whether bfloat16 is in hardware."""
    if wanted in ("float32", "int8"):
        return wanted
    probe = core.compile_model(model, "CPU", {"INFERENCE_NUM_THREADS": 1, **UNPINNED})
    chosen = probe.get_property("INFERENCE_PRECISION_HINT")
    if chosen.get_type_name() == "bf16":
        return "bfloat16"
    if wanted == "bfloat16":
        raise UserError(
            "serving.precision = bfloat16, and this processor has no bfloat16",
            "a processor with AMX or avx512_bf16",
            "set serving.precision: auto",
        )
    return "float32"
