"""From a trained network to a sealed model package, if the exported graph says what the network says."""

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from tasks.data.split import SPLITS
from tasks.evaluation.evaluate import trained_model
from tasks.packaging.export_int8 import export_int8, read_spec
from tasks.packaging.parity import check_runtimes
from tasks.run import Run
from tasks.stage_task import stage_task
from tasks.stages import StagePlan, StageResult, run_stage, write_json
from tasks.training.compare import comparison_key, known_comparison
from tasks.training.trained import Trained, upstream
from vision.errors import ClearError
from vision.evaluation.config import EvaluationConfig
from vision.lineage import PROJECT
from vision.package import Int8, Spec, open_package, sha256_file

GOLDEN_IMAGES = 8
MODULES = ("assemble", "onnx", "explain", "int8", "int8_gate", "parity", "reference", "runtime", "runtime_openvino")


@stage_task("export", tags=["export"])
def export(run: Run, trained: Trained) -> StageResult:
    """The sealed package, and `made`: package_sha (None when parity failed), parity, parity_rows, bfloat16, metrics, int8."""

    def work(folder):
        from vision.export.reference import pick_golden
        from vision.export.runtime import onnx_run, torch_run

        served = trained_model(run, trained.dataset, trained.model)
        files = _export_graphs(run, trained, served, folder)
        exported = onnx_run(files["model.onnx"])
        golden = pick_golden(trained.rows("test"), GOLDEN_IMAGES)
        parity = check_runtimes(run, trained, torch_run(served), files["model.onnx"], golden)
        measured = _measured_once(folder, lambda: _measure(exported, trained, run.config.evaluation, files))
        made = {"package_sha": None, **parity, "metrics": trained.evaluation.made["metrics"] | measured}
        if not parity["parity"]["passed"]:
            return made
        made |= {"int8": export_int8(run, trained, files, exported)}
        return made | {"package_sha": _assemble(run, trained, files, made, exported)}

    plan = StagePlan(
        stage="export",
        section=run.config,
        inputs={
            "model": trained.model.key,
            "evaluation": trained.evaluation.key,
            "contract": trained.contract.key,
            "dvc_md5": trained.dataset.dvc_md5,
            "comparison": comparison_key(run, trained.cache),
            "card": sha256_file(PROJECT / "vision" / "evaluation" / "report.md.j2"),
        },
        roots=(
            *(f"vision.export.{name}" for name in MODULES),
            "vision.evaluation.latency",
            "vision.evaluation.card",
            f"vision.kinds.{run.config.kind}",
            f"vision.kinds.{run.config.kind}_learning",
        ),
        resumable=True,
    )
    return run_stage(run.stages, plan, work, whole=lambda made: _is_whole(run, made["package_sha"]))


def _is_whole(run: Run, sha: str | None) -> bool:
    """A graph that failed its parity made no package: that verdict stands. A damaged package is made again."""
    try:
        return sha is None or open_package(run.packages / sha, sha).package_sha == sha
    except ClearError as error:
        if (run.packages / sha).is_dir():
            logging.getLogger(__name__).warning("%s; it is made again", error.got)
        return False


def _export_graphs(run: Run, trained: Trained, served, folder: Path) -> dict[str, Path]:
    from vision.export.onnx import export_onnx
    from vision.kinds import answering, learning

    side_px = run.config.input.side_px
    files = {"model.onnx": folder / "model.onnx", "model.safetensors": trained.model.folder / "model.safetensors"}
    export_onnx(served, side_px, answering(run.config.kind).outputs, files["model.onnx"])
    explainer = learning(run.config.kind).explainer(served)
    if explainer is not None:
        module, outputs = explainer
        files["explain.onnx"] = folder / "explain.onnx"
        export_onnx(module, side_px, outputs, files["explain.onnx"])
    return files


def _measured_once(folder: Path, measure: Callable[[], dict[str, float]]) -> dict[str, float]:
    """The figures that differ each time and go into the package: one that was killed after them goes on with them, so
    that it makes the same package and not a second one.
    """
    kept = folder / "measured.json"
    if not kept.is_file():
        write_json(kept, measure())
    return json.loads(kept.read_text())


def _measure(
    exported: Callable, trained: Trained, config: EvaluationConfig, files: dict[str, Path]
) -> dict[str, float]:
    """Latency of the exported graph on this machine's CPU, and its size."""
    from vision.evaluation.latency import profile_latency, size_mib

    latency = profile_latency(exported, trained.crops("test"), config.latency_runs, config.latency_warmup_runs)
    return {**latency, "size_mib": size_mib(files["model.onnx"])}


def _assemble(run: Run, trained: Trained, files: dict[str, Path], made: dict, exported: Callable) -> str:
    """made: int8, bfloat16, metrics."""
    import numpy as np

    from vision.export.assemble import PackageParts, assemble_package
    from vision.export.golden import write_golden
    from vision.export.reference import pick_golden, reference_table

    folder = files["model.onnx"].parent
    int8 = Int8(passed=made["int8"]["passed"], drop=made["int8"]["drop"])
    spec = read_spec(trained).model_copy(update={"int8": int8, "bfloat16": made["bfloat16"]})
    rows = {name: trained.rows(name) for name in ("val", "test")}
    outputs = {name: dict(np.load(trained.evaluation.folder / f"outputs_{name}.npz")) for name in rows}
    reference_table(rows, outputs, spec).to_parquet(folder / "reference.parquet", index=False)
    golden = [(run.dataset_folder / path).read_bytes() for path in pick_golden(rows["test"], GOLDEN_IMAGES)]
    for left in (folder / "golden", *folder.glob(".partial-*")):  # a killed run's
        shutil.rmtree(left, ignore_errors=True)
    write_golden(folder, golden, spec, exported)
    lineage = upstream(run, trained)
    (folder / "model_card.md").write_text(_card(run, trained, spec, lineage))
    parts = PackageParts(
        spec=spec,
        config=json.loads(run.config.model_dump_json()),
        metrics=made["metrics"],
        lineage=lineage,
        files=files | {name: folder / name for name in ("reference.parquet", "model_card.md")},
        golden=folder / "golden",
        cards=run.config.cards,
    )
    return assemble_package(run.packages, parts, scratch=folder)


def _card(run: Run, trained: Trained, spec: Spec, lineage: dict) -> str:
    from vision.evaluation.card import Background, model_card
    from vision.evaluation.report import Part, split_table

    data, shown = split_table(pd.read_parquet(trained.splits.folder / SPLITS)), {k: str(v) for k, v in lineage.items()}
    compared = known_comparison(run, trained.cache)
    part = Part.model_validate(compared["made"]["part"]) if compared else None
    asked = run.config.evaluation
    background = Background(data, asked.limitations, shown, part, asked.interval)
    return model_card(run.config.title, spec, trained.found(), background)
