"""The page of a run that a manager could read: HTML in the state folder and in MLflow, Markdown as a Prefect artifact."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from tasks.data.ingest import Dataset
from tasks.data.split import SPLITS
from tasks.monitoring.alert import alert
from tasks.packaging.parity import parity_table
from tasks.packaging.register import Alias
from tasks.run import Run
from tasks.stages import StageResult
from tasks.training.record import flatten
from tasks.training.trained import Trained, upstream
from vision.evaluation.card import few_families
from vision.evaluation.checks import Check
from vision.evaluation.report import (
    Part,
    Picture,
    Point,
    RunReport,
    Table,
    gate_table,
    key_figures,
    per_class_report,
    split_table,
    to_markdown,
    write_report,
)
from vision.evaluation.undefined import restored
from vision.verdict import Verdict

NAMED = 5


@task(name="reject", cache_policy=NO_CACHE, persist_result=False, tags=["report"])
def reject(run: Run, dataset: Dataset, splits: StageResult, contract: StageResult, pictures: StageResult) -> str:
    """Page and alert of a run whose data broke the contract; returns the message that the flow ends with."""
    verdict = Verdict.model_validate(contract.made["verdict"])
    report = RunReport(
        title=f"{run.config.title}: the data broke its contract",
        summary="Nothing was trained. The rows below must be mended first, or the thresholds in the config.",
        verdict=verdict,
        **_data_parts(run, dataset, splits, contract),
        parts=(_insights(pictures),),
        tables=(_rules(contract),),
        pictures=_pictures(pictures),
        links={
            "contract page": contract.made["page"],
            "Data Docs": contract.made["docs"],
            "page of the data": pictures.made["page"],
        },
    )
    page = _publish(run, report, f"{contract.key[:12]}-contract")
    alert(run, "the data contract failed", verdict.reasons)
    reasons = "\n".join(f"  {reason}" for reason in verdict.reasons)
    broken = [rule for rule in _failed(contract) if rule["severity"] == "critical" and any(rule["details"])]
    details = "".join(f"  {line}\n" for rule in broken for line in _detailed(rule))
    do = "mend or remove what is named, or change `contract` in the config; nothing was trained"
    return f"{reasons}\n{details}  to do: {do}\n  report: {page}"


@task(name="publish", cache_policy=NO_CACHE, persist_result=False, tags=["report"])
def publish(
    run: Run,
    trained: Trained,
    package: StageResult,
    gate: StageResult,
    bento: StageResult | None = None,
    alias: Alias | None = None,
) -> dict[str, Any]:
    """Page of a run that came to its gate. Returns what the command prints (`text`) and where things lie."""
    verdict = Verdict.model_validate(gate.made["verdict"])
    places = _places(run, trained, package, bento)
    report = RunReport(
        title=run.config.title,
        summary=_summary(run, trained, alias),
        verdict=verdict,
        **_figures(run, trained, package),
        gate=gate_table(tuple(Check(**check) for check in gate.made["checks"])),
        **_data_parts(run, trained.dataset, trained.splits, trained.contract),
        parts=(
            _insights(trained.pictures),
            *_tuning(run),
            *(Part.model_validate(part) for part in trained.analysis.made["parts"]),
        ),
        tables=(parity_table(package, alias.answered if alias else ""), _times(trained, package)),
        pictures=_pictures(trained.evaluation, trained.pictures),
        links=places | {"page of the data": trained.pictures.made["page"]},
        lineage={name: str(value) for name, value in flatten(upstream(run, trained)).items()},
    )
    page = _publish(run, report, package.key[:12])
    tracker, run_id = run.tracker(), trained.model.made["run_id"]
    for file in (str(page), trained.pictures.made["page"]):
        tracker.client.log_artifact(run_id, file, "report")
    tracker.close_run(run_id)
    if not verdict.passed:
        alert(run, "a trained model lost its gate", verdict.reasons)
    text = _text(run, trained, package, verdict, alias, page)
    return {"text": text, "report": str(page), "passed": verdict.passed, **places}


def _figures(run: Run, trained: Trained, package: StageResult) -> dict[str, Any]:
    asked, per_class = run.config.evaluation, pd.read_csv(trained.evaluation.folder / "per_class.csv")
    metrics = restored(package.made["metrics"])
    return {
        "figures": key_figures(metrics),
        "level": asked.interval,
        "per_class": per_class_report(per_class, asked.interval),
        "limitations": (*few_families(metrics), *asked.limitations),
    }


def _tuning(run: Run) -> tuple[Part, ...]:
    return tuple(Part.model_validate(part) for part in run.tuned.parts) if run.tuned else ()


def _insights(pictures: StageResult) -> Part:
    """What the data said before anything was trained; the page of the data has the pictures."""
    points = tuple(Point(**point) for point in pictures.made["insights"])
    text = () if points else ("No rule spoke.",)
    return Part(title="What the data said", text=text, points=points)


def _data_parts(run: Run, dataset: Dataset, splits: StageResult, contract: StageResult) -> dict[str, Any]:
    verdict = Verdict.model_validate(contract.made["verdict"])
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "data": split_table(pd.read_parquet(splits.folder / SPLITS, columns=["label", "split"])),
        "data_facts": {
            "data version (DVC)": dataset.dvc_md5,
            "images": str(sum(dataset.counts.values())),
            "families split together": str(splits.made["families"]),
        },
        "contract": verdict,
        "contract_facts": {"rules checked": f"{contract.made['ran']} of {contract.made['expected']}"},
    }


def _detailed(rule: dict[str, Any]) -> list[str]:
    """The first failing rows with what is wrong with each."""
    rows = list(zip(rule["failing"], rule["details"], strict=True))[:NAMED]
    more = [f"… and {rule['failing_count'] - len(rows):,} more of {rule['name']}"] * (rule["failing_count"] > len(rows))
    return [*(f"{name}: {detail}" for name, detail in rows if detail), *more]


def _rules(contract: StageResult) -> Table:
    rows = tuple(
        (rule["name"], rule["severity"], str(rule["observed"]), str(rule["allowed"]), ", ".join(rule["failing"][:10]))
        for rule in _failed(contract)
    )
    return Table(title="Broken rules", columns=("rule", "severity", "observed", "allowed", "failing rows"), rows=rows)


def _failed(contract: StageResult) -> list[dict[str, Any]]:
    return [rule for rule in contract.made["rules"] if not rule["passed"]]


def _times(trained: Trained, package: StageResult) -> Table:
    stages = (
        trained.manifest,
        trained.splits,
        trained.contract,
        trained.pictures,
        trained.cache,
        *trained.before,
        trained.model,
        trained.evaluation,
        trained.analysis,
        package,
    )
    rows = tuple((s.stage, f"{s.seconds:.1f}", "reused" if s.reused else "run now") for s in stages)
    rows = (("ingest", f"{trained.dataset.seconds:.1f}", "run now"), *rows)
    return Table(title="Time of each stage", columns=("stage", "seconds", "this run"), rows=rows)


def _pictures(*stages: StageResult) -> tuple[Picture, ...]:
    paths = [Path(path) for stage in stages for path in stage.made["pictures"]]
    return tuple(Picture(path=path, caption=path.stem.replace("_", " ")) for path in paths)


def _places(run: Run, trained: Trained, package: StageResult, bento: StageResult | None) -> dict[str, str]:
    places = {
        "package": str(run.packages / (package.made["package_sha"] or "none")),
        "contract": trained.contract.made["page"],
        "rows": str(trained.evaluation.folder / "rows.parquet"),
        "mlflow_run": trained.model.made["run_id"],
    }
    return places | ({"bento": bento.made["tag"]} if bento else {})


def _summary(run: Run, trained: Trained, alias: Alias | None) -> str:
    fit, weights = trained.model.made, trained.model.made["weights"]
    start = f"from {weights['origin']} weights, {fit['epochs']} epochs, best epoch {fit['best_epoch']}, {fit['precision']['chosen']}"
    standing = f" Version {alias.version}: {alias.alias or 'no alias'} ({alias.reason})." if alias else ""
    told = f"{run.config.description} {run.config.model.arch} {start}.{standing}"
    return f"{told} Measured on the test images. Reason of this run: {run.reason}."


def _text(run: Run, trained: Trained, package: StageResult, verdict: Verdict, alias: Alias | None, page: Path) -> str:
    metrics, headline = restored(package.made["metrics"]), trained.evaluation.made["headline"]
    interval = f"{metrics[f'{headline}_low']:.3f} to {metrics[f'{headline}_high']:.3f}"
    lines = [
        f"{run.config.title}: {'passed' if verdict.passed else 'REJECTED by'} its gate",
        f"  data      {sum(trained.dataset.counts.values())} images, {len(trained.dataset.labels)} classes, "
        f"version {trained.dataset.dvc_md5[:12]}",
        f"  test      accuracy {metrics['accuracy']:.3f}, {headline} {metrics[headline]:.3f} ({interval}), "
        f"{int(metrics['images'])} images" if "accuracy" in metrics else f"  test      {headline} {metrics[headline]:.3f} ({interval})",
        f"  speed     {metrics['latency_p50_ms']:.1f} ms an image (p95 {metrics['latency_p95_ms']:.1f}), {metrics['size_mib']:.1f} MiB",
    ]  # fmt: skip
    if alias:
        lines.append(f"  registry  version {alias.version} is {alias.alias or 'without an alias'}: {alias.reason}")
    if not verdict.passed:
        lines += [f"  why       {reason}" for reason in verdict.reasons]
    lines += [f"  warning   {warning}" for warning in verdict.warnings]
    return "\n".join([*lines, f"  report    {page}"])


def _publish(run: Run, report: RunReport, name: str) -> Path:
    page = write_report(report, run.folder / "reports" / f"{time.strftime('%Y%m%dT%H%M%S')}-{name}")
    key = f"report-{run.config.system.replace('_', '-')}"
    create_markdown_artifact(to_markdown(report), key=key, description=f"{report.title}; with pictures: {page}")
    return page
