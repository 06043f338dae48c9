"""A sealed package measured on a version of the data."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from tasks.data.split import SPLITS
from tasks.evaluation.analyse import ANALYSIS, analysed
from tasks.evaluation.evaluate import EVALUATION
from tasks.packaging.champion import open_champion
from tasks.progress import progress
from tasks.run import Run
from tasks.stage_task import stage_task
from tasks.stages import StagePlan, StageResult, run_stage
from vision.errors import UserError
from vision.evaluation.card import few_families
from vision.evaluation.report import Part, Picture, RunReport, key_figures, per_class_report, write_report
from vision.evaluation.undefined import stored
from vision.kinds.base import Evaluation
from vision.package import Package, open_package


def choose_package(run: Run, folder: Path | None) -> Package:
    """The package in `folder`, else the champion's. Raises `UserError` when there is neither."""
    if folder is not None:
        return open_package(folder)
    champion = open_champion(run)
    if champion is None:
        name = run.config.system
        raise UserError(f"{name} has no champion", "a system that was trained", f"make train SYSTEM={name}")
    return champion.package


@stage_task("assess", tags=["evaluation"])
def assess(run: Run, package: Package, splits: StageResult, images: str) -> StageResult:
    """`report.html`, `metrics.json`, `per_class.csv`, pictures. `made`: metrics, headline, value, folder, page."""

    def work(folder):
        from vision.evaluation.packages import evaluate_package
        from vision.export.runtime import onnx_run
        from vision.kinds import learning

        table = pd.read_parquet(splits.folder / SPLITS)
        rows = table[table["split"].notna() if images == "all" else table["split"] == images]
        with progress("assess") as bar:
            scored = evaluate_package(package, run.dataset_folder, rows, run.config.evaluation, folder, bar)
        found = scored.evaluation
        pictures = learning(package.spec.kind).draw(
            found, scored.outputs, scored.images, package.spec, folder, run.config.evaluation.grid_images
        )
        model = (onnx_run(package.folder / "model.onnx"), package.spec)
        parts, _ = analysed(found, (scored.outputs, scored.images), model, run.config.evaluation, folder)
        page = _page(run, package, found, images, (parts, pictures), folder)
        (folder / "images.npy").unlink()
        (folder / "metrics.json").write_text(json.dumps(stored(found.metrics), indent=1))
        found.per_class.to_csv(folder / "per_class.csv", index=False)
        value = found.metrics[found.headline]
        made = {"metrics": stored(found.metrics), "headline": found.headline, "value": value, "folder": str(folder)}
        return made | {"page": str(page), "text": _text(package, found, images, page)}

    plan = StagePlan(
        stage="assess",
        section=run.config.evaluation,
        inputs={"package_sha": package.package_sha, "split_sha": splits.made["split_sha"], "images": images},
        roots=(
            "vision.evaluation.packages",
            *EVALUATION,
            *ANALYSIS,
            f"vision.kinds.{package.spec.kind}",
            f"vision.kinds.{package.spec.kind}_learning",
        ),
    )
    return run_stage(run.stages, plan, work)


def _page(
    run: Run, package: Package, found: Evaluation, images: str, shown: tuple[tuple[Part, ...], list[Path]], folder: Path
) -> Path:
    """shown: chapters and pictures."""
    parts, pictures = shown
    report = RunReport(
        title=f"{run.config.title}: package {package.package_sha[:12]}",
        summary=f"A saved package on {len(found.rows):,} images ({images}) of its system's data. Nothing was trained.",
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        figures=key_figures(found.metrics),
        level=run.config.evaluation.interval,
        per_class=per_class_report(found.per_class, run.config.evaluation.interval),
        parts=parts,
        pictures=tuple(Picture(path=path, caption=path.stem.replace("_", " ")) for path in pictures),
        limitations=(*few_families(found.metrics), *run.config.evaluation.limitations),
    )
    return write_report(report, folder)


def _text(package: Package, found: Evaluation, images: str, page: Path) -> str:
    figures = key_figures(found.metrics)
    lines = [f"  {f.name:20} {f.value:>8}  {f.interval and f'({f.interval})'}".rstrip() for f in figures]
    head = f"Package {package.package_sha[:12]} on {len(found.rows)} images ({images})"
    return "\n".join([head, *lines, f"  report  {page}"])
