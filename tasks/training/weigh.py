"""What a trained model costs on this device: parameters, files, and the time of an answer in each precision."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from configs.profile import device_name
from tasks.data.ingest import Dataset
from tasks.evaluation.evaluate import trained_model
from tasks.run import Run
from tasks.stage_task import stage_task
from tasks.stages import StagePlan, StageResult, run_stage

MODULES = ("onnx", "int8", "int8_gate", "runtime", "runtime_openvino")
SEED = 0


def this_device() -> str:
    return device_name(len(os.sched_getaffinity(0)))


@stage_task("weigh", tags=["export"])
def weigh(run: Run, dataset: Dataset, cache: StageResult, model: StageResult, evaluation: StageResult) -> StageResult:
    """`made`: parameters, size_mib and latency_ms (median, one image at a time) by precision, served (the precision that a
    server would choose here), int8 (passed, drop), runtime. None for a precision that this device has not.
    """
    config = run.config
    plan = StagePlan(
        stage="weigh",
        section={
            "export": config.export.model_dump(mode="json"),
            "runs": [config.evaluation.latency_runs, config.evaluation.latency_warmup_runs],
            "device": this_device(),
        },
        inputs={"model": model.key, "evaluation": evaluation.key, "cache": cache.key},
        roots=(
            *(f"vision.export.{name}" for name in MODULES),
            "vision.evaluation.latency",
            f"vision.kinds.{config.kind}",
        ),
    )

    def work(folder):
        from vision.evaluation.latency import size_mib
        from vision.export.onnx import export_onnx
        from vision.kinds import answering

        served, graphs = trained_model(run, dataset, model), {"float32": folder / "model.onnx"}
        export_onnx(served, config.input.side_px, answering(config.kind).outputs, graphs["float32"])
        int8 = _quantise(run, cache, evaluation, graphs) if config.export.int8 else {"passed": False, "drop": None}
        made = _time(run, cache, graphs) | {"int8": {name: int8[name] for name in ("passed", "drop")}}
        made["parameters"] = sum(tensor.numel() for tensor in served.network.parameters())
        made["size_mib"] = {name: size_mib(graphs[name]) if name in graphs else None for name in ("float32", "int8")}
        for graph in graphs.values():
            graph.unlink()
        return made

    return run_stage(run.stages, plan, work)


def _quantise(run: Run, cache: StageResult, evaluation: StageResult, graphs: dict[str, Path]) -> dict[str, Any]:
    """The graph beside the float one, and what it costs each class on validation and test images."""
    import numpy as np
    import pandas as pd

    from vision.data.cache import ImageCache
    from vision.export.int8 import quantise
    from vision.export.int8_gate import HeldBack, judge_int8
    from vision.export.runtime import onnx_run
    from vision.kinds import answering
    from vision.package import Spec

    store, graph = ImageCache.open(cache.folder), graphs["float32"].with_name("model.int8.onnx")
    train = store.crops("train")
    chosen = np.random.default_rng(SEED).permutation(len(train))[: run.config.export.calibration_images]
    quantise(graphs["float32"], train[np.sort(chosen)], graph, answering(run.config.kind).quantised)
    rows = pd.concat([store.rows.iloc[store.indices(name)] for name in ("val", "test")], ignore_index=True)
    held = HeldBack([store.crops(name) for name in ("val", "test")], rows)
    spec = Spec.model_validate_json((evaluation.folder / "spec.json").read_text())
    judged = judge_int8(onnx_run(graphs["float32"]), onnx_run(graph), held, spec, run.config.export)
    graphs["int8"] = graph
    return judged


def _time(run: Run, cache: StageResult, graphs: dict[str, Path]) -> dict[str, Any]:
    from vision.data.cache import ImageCache
    from vision.evaluation.latency import profile_latency
    from vision.export.runtime import onnx_run

    images, config = ImageCache.open(cache.folder).crops("test"), run.config.evaluation
    runs: dict[str, Any] = {"float32": onnx_run(graphs["float32"])}
    runtime, served = "onnxruntime", "float32"
    if "int8" in graphs:
        runs["int8"] = onnx_run(graphs["int8"])
    if find_spec("openvino") is not None:
        from vision.export.runtime_openvino import openvino_run

        asked = [(graphs["float32"], "float32"), (graphs["float32"], "auto")]
        asked += [(graphs["int8"], "int8")] if "int8" in graphs else []
        found = [openvino_run(graph, precision) for graph, precision in asked]
        runs, runtime, served = {name: function for function, name in found}, "openvino", found[1][1]
    times = {
        name: profile_latency(runs[name], images, config.latency_runs, config.latency_warmup_runs)["latency_p50_ms"]
        if name in runs else None
        for name in ("float32", "bfloat16", "int8")
    }  # fmt: skip
    return {"latency_ms": times, "served": served, "runtime": runtime}
