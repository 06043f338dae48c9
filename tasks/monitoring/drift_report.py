"""A window as a page: verdict, cause and action on top, our tests with their own error rates, pictures, Evidently's report
beside it. HTML in the window's folder and in MLflow; Markdown and a table as Prefect artifacts.
"""

import logging
from pathlib import Path
from typing import Any

import pandas as pd
from prefect import task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE

from tasks.monitoring.drift_figures import (
    evidence_table,
    figures,
    history_table,
    limitations,
    scores_table,
    summary,
    tests_table,
)
from tasks.monitoring.end import ALARM, CHANGED, QUIET
from tasks.monitoring.evidently_report import PAGE as EVIDENTLY
from tasks.monitoring.evidently_report import Workspace, write_evidently
from tasks.monitoring.judge_window import evidence_words, headline, read_reference
from tasks.monitoring.request_training import told
from tasks.monitoring.state import SCORED_WINDOWS, VERDICT, MonitorFolder, WindowVerdict, status_of
from tasks.monitoring.windows import Window, champion_package, finish_window
from tasks.run import Run
from vision.evaluation.report import Picture, RunReport, to_markdown, write_report
from vision.monitoring.drift import sample
from vision.verdict import Verdict

HISTORY = 30
"""Windows on the page's line."""


@task(name="publish-window", cache_policy=NO_CACHE, persist_result=False, tags=["report"])
def publish_window(run: Run, window: Window, verdict: WindowVerdict) -> dict[str, Any]:
    """Page, artifacts, MLflow, `verdict.json`, `status.json`, and last the watermark. Returns what the command prints."""
    folder = MonitorFolder(run)
    reference = read_reference(champion_package(run, window.release).folder)
    shown = sample(window.table, run.config.monitor.max_rows, window.no)
    workspace = Workspace(folder.evidently, run.config.system, run.config.monitor.kept_reports)
    known = sample(reference, run.config.monitor.max_rows, window.no)
    views = write_evidently(known, shown, window.folder, workspace, f"window {window.no}")
    before = folder.latest(window.no, HISTORY - 1)
    report = _report(run, verdict, before, views).model_copy(
        update={"pictures": _pictures(window, verdict, known, before)}
    )
    page = write_report(report, window.folder)
    _artifacts(run, report, page, verdict)
    folder.write_verdict(verdict)
    _log_in_mlflow(run, verdict, window.folder)
    folder.write_status(status_of(verdict))
    finish_window(run, window)
    name = ALARM if verdict.alarm else CHANGED if verdict.changed else QUIET
    return {"state": name, "text": _text(run, window, verdict, page), "report": str(page)}


def _report(run: Run, verdict: WindowVerdict, before: list[WindowVerdict], views: dict[str, str]) -> RunReport:
    words, folder = headline(verdict), MonitorFolder(run)
    said = (
        (*evidence_words(verdict), f"to do: {verdict.diagnosis.action}") if verdict.changed else evidence_words(verdict)
    )
    asked = (told(verdict.request), verdict.reason) if verdict.alarm else ()
    tables = (
        tests_table(verdict, views),
        evidence_table(verdict),
        history_table([verdict, *before]),
        scores_table(folder.scores(SCORED_WINDOWS)),
    )
    links = {"Evidently's report": f"./{EVIDENTLY}"} if views else {}
    return RunReport(
        title=f"{run.config.title}: window {verdict.no}",
        summary=summary(verdict),
        at=verdict.at.isoformat(timespec="seconds"),
        verdict=Verdict(passed=not verdict.changed, reasons=said, warnings=asked),
        verdict_words=("No change", words[0].upper() + words[1:]),
        figures=figures(verdict, run.config.monitor),
        tables=tuple(table for table in tables if table.rows),
        limitations=limitations(verdict),
        links=links | {"history in Evidently's UI": f"evidently ui --workspace {folder.evidently}"},
        lineage={"package": verdict.package_sha, "model version": str(verdict.model_version)},
    )  # fmt: skip


def _pictures(
    window: Window, verdict: WindowVerdict, reference: pd.DataFrame, before: list[WindowVerdict]
) -> tuple[Picture, ...]:
    from vision.monitoring.window_plots import draw_history, draw_window

    smallest = {one.name: one.shift for one in verdict.detectable if one.kind == "number" and one.shift is not None}
    drawn = draw_window(reference, window.table, verdict.drift, smallest, window.folder)
    line = [
        {"no": one.no, "p_value": one.drift.p_value, "changed": one.changed, "alarm": one.alarm}
        for one in (*reversed([old for old in before if old.package_sha == verdict.package_sha]), verdict)
    ]
    path = draw_history(line, verdict.drift.alpha, window.folder / "history.png")
    return tuple(
        Picture(path=path, caption=caption) for path, caption in [*drawn, (path, "Windows of this model so far")]
    )


def _artifacts(run: Run, report: RunReport, page: Path, verdict: WindowVerdict) -> None:
    name = run.config.system.replace("_", "-")
    create_markdown_artifact(
        to_markdown(report), key=f"monitor-{name}", description=f"{report.title}; with pictures: {page}"
    )
    rows = [
        test.model_dump(include={"name", "method", "effect", "p_value", "p_corrected", "drifted"})
        for test in verdict.drift.tests
    ]
    create_table_artifact(rows, key=f"monitor-tests-{name}", description=f"{report.title}: {headline(verdict)}")


def _log_in_mlflow(run: Run, verdict: WindowVerdict, folder: Path) -> None:
    """A run of its own, `monitor_<no>`. What is served is watched also while the registry is away."""
    try:
        tracker, key = run.tracker(), f"monitor-{verdict.name}"
        tags = {
            "package_sha": verdict.package_sha,
            "cause": verdict.diagnosis.cause,
            "alarm": str(verdict.alarm).lower(),
        }
        # A monitor that was killed after this and before the watermark has the same run again.
        found = tracker.client.search_runs([tracker.experiment_id()], f"tags.stage_key = '{key}'", max_results=1)
        run_id = found[0].info.run_id if found else tracker.open_run(key, f"monitor_{verdict.no}", tags)
        numbers = {name: value for name, value in status_of(verdict).items() if isinstance(value, int | float)}
        tracker.log_metrics(run_id, numbers, step=verdict.no)
        for name in ("report.html", EVIDENTLY, VERDICT):
            if (folder / name).is_file():
                tracker.client.log_artifact(run_id, str(folder / name), "monitor")
        tracker.close_run(run_id)
    except Exception as error:
        logging.getLogger(__name__).warning("window %s is not in MLflow: %s", verdict.no, getattr(error, "got", error))


def _text(run: Run, window: Window, verdict: WindowVerdict, page: Path) -> str:
    lines = [f"{run.config.title}: window {verdict.no}: {headline(verdict)}", f"  records   {window.said}"]
    lines += [f"  why       {reason}" for reason in evidence_words(verdict)]
    if verdict.changed:
        lines.append(f"  to do     {verdict.diagnosis.action}")
    if verdict.alarm:
        lines += [f"  training  {told(verdict.request)}"]
        lines += [f"            {verdict.reason}"] * (verdict.request is not None)
    rates = verdict.false_alarms
    if rates:
        lines.append(
            f"  measured  false alarms in {rates.rate:.2%} of windows without any change (95 %: {rates.low:.2%} to {rates.high:.2%}), "
            f"{rates.per_alarm:.2g} after k of n"
        )
    return "\n".join([*lines, f"  report    {page}"])
