"""The parity gate: every runtime that may serve the package, held to the network that was trained, before it is sealed."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from tasks.run import Run
from tasks.stages import StageResult
from tasks.training.trained import Trained
from vision.evaluation.report import Table

PARITY_IMAGES = 64


def check_runtimes(run: Run, trained: Trained, reference: Callable, model: Path, golden: list[str]) -> dict[str, Any]:
    """`parity` (a verdict), `parity_rows` and `bfloat16` (agreed; None: not compared), JSON-able.

    reference: the trained network as a function of images. golden: paths of the golden images, test images of the
    dataset. bfloat16 that differs loses nothing but itself: such a package is served in float32, unless the system asks
    for bfloat16 by name.
    """
    from vision.export.golden import TOLERANCES
    from vision.export.parity import all_outputs, input_row, parity_row, parity_verdict, spread_warnings
    from vision.export.runtime import onnx_run
    from vision.kinds import answering

    kind, crops = answering(run.config.kind), trained.crops("test")
    images = crops[:PARITY_IMAGES]
    wanted = all_outputs(reference, images, kind)
    asked, bfloat16 = run.config.serving.precision, None
    rows = [input_row(*_golden(run, trained, golden), run.config.input)]
    rows.append(parity_row("ONNX Runtime, float32", wanted, onnx_run(model), images, kind, TOLERANCES["float32"]))
    for name, other, precision in _openvino(model, asked):
        rows.append(parity_row(name, wanted, other, images, kind, TOLERANCES[precision]))
        bfloat16 = rows[-1] if precision == "bfloat16" else bfloat16
    left_out = bfloat16 is not None and not bfloat16.passed and asked != "bfloat16"
    needed = [row for row in rows if row is not bfloat16] if left_out else rows
    verdict = parity_verdict(needed, spread_warnings(wanted, kind))
    return {
        "parity": verdict.model_dump(mode="json"),
        "parity_rows": [row.model_dump(mode="json") for row in rows],
        "bfloat16": bfloat16.passed if bfloat16 else None,
    }


def parity_table(package: StageResult, answered: str) -> Table:
    """answered: what the smoke test of the bento said; empty where the run did not come so far."""
    # Only what may be left out differs in a package that passed.
    differs = "left out" if package.made["parity"]["passed"] else "DIFFERS"
    rows = [
        (row["what"], str(row["images"]), _number(row["difference"]), f"{row['tolerance']:g}", f"{row['same_top']:.1%}",
         "agrees" if row["passed"] else differs)
        for row in package.made["parity_rows"]
    ]  # fmt: skip
    if int8 := package.made.get("int8"):
        drop = "–" if int8["drop"] is None else f"{int8['drop']:.3f} of recall"
        rows.append(("INT8 (its own gate)", "–", drop, "–", "–", "in the package" if int8["passed"] else "left out"))
    if answered:
        rows.append(("the bento, over HTTP", "–", answered, "–", "–", "agrees"))
    return Table(
        title="Parity with the trained network",
        columns=("what", "images", "largest difference", "tolerance", "same answer", "result"),
        rows=tuple(rows),
        note="Outputs within the tolerance, absolute and relative. What differs is not released; INT8 and "
        "bfloat16 are left out alone (served in float32 then).",
    )


def _golden(run: Run, trained: Trained, golden: list[str]) -> tuple[list[bytes], np.ndarray]:
    """The golden images' bytes as they lie in the dataset, and uint8 [N, S, S, 3] as training's cache has them."""
    places = {path: position for position, path in enumerate(trained.rows("test")["path"])}
    positions = np.array([places[path] for path in golden])
    return [(run.dataset_folder / path).read_bytes() for path in golden], trained.crops("test")[positions]


def _openvino(model: Path, asked: str) -> list[tuple[str, Callable, str]]:
    """(what, function, precision): float32, and what this processor is fastest in unless the system asks to be served in float32;
    none where it isn't installed."""
    if find_spec("openvino") is None:
        return []
    from vision.export.runtime_openvino import openvino_run

    wanted = ("float32",) if asked == "float32" else ("float32", "auto")
    found = [openvino_run(model, precision) for precision in wanted]
    named = [(f"OpenVINO, {precision}", other, precision) for other, precision in found]
    return named if found[-1][1] != "float32" else named[:1]


def _number(value: float | None) -> str:
    return "no number" if value is None else f"{value:.2g}"
