"""Holds the accuracy that was estimated without labels against labels that came later."""

import logging

import pandas as pd
from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.monitoring.judge_window import read_reference
from tasks.monitoring.state import SCORED_WINDOWS, MonitorFolder, WindowScore, WindowVerdict
from tasks.run import Run
from vision.errors import MachineError
from vision.monitoring.estimate_scores import ScoredEstimate, score_with_labels
from vision.records_read import read_feedback
from vision.records_window import take_window

AT_ONCE = 3
"""Windows that one run scores: a large one takes seconds to read."""
GROWTH = 1.1
"""A window is scored again when so many times as many words have come."""


@task(name="score-estimates", cache_policy=NO_CACHE, persist_result=False, tags=["monitoring"])
def score_estimates(run: Run) -> tuple[str, ...]:
    """Scores judged windows for which enough was said since; one line a window."""
    feedback = read_feedback(run.state.feedback(run.config.system))
    folder, least, lines = MonitorFolder(run), run.config.monitor.min_labels, []
    tried = 0
    for verdict in folder.latest(folder.mark().window + 1, SCORED_WINDOWS) if len(feedback) >= least else ():
        said, known = int(feedback["id"].between(verdict.first_id, verdict.last_id).sum()), folder.score(verdict.no)
        if said < max(least, GROWTH * known.said if known else 0) or verdict.diagnosis.estimate is None:
            continue
        scored = _scored(run, verdict, feedback)
        folder.write_score(
            WindowScore(no=verdict.no, model_version=verdict.model_version, said=said, scored=scored)
        )  # fmt: skip
        lines += [_words(verdict.no, scored)] if scored else []
        tried += 1
        if tried == AT_ONCE:
            break
    return tuple(lines)


def _scored(run: Run, verdict: WindowVerdict, feedback: pd.DataFrame) -> ScoredEstimate | None:
    """None where too few words are about the window's own answers, or where its records or its package are gone or damaged:
    what is served now is judged all the same.
    """
    config, records = run.config.monitor, run.state.records(run.config.system)
    try:
        reference = read_reference(run.packages / verdict.package_sha)
        rows = MonitorFolder(run).rows(verdict.no)
        if rows is None:
            return None
        table = take_window(records, rows.since, rows.package_sha, config.max_window, rows.until).table
    except (MachineError, OSError, ValueError) as error:  # Of parquet that is no parquet a ValueError.
        said = error.got if isinstance(error, MachineError) else error
        logging.getLogger(__name__).warning("the estimate of window %s is not scored: %s", verdict.no, said)
        return None
    if len(table) != verdict.records:
        return None
    scored = score_with_labels(reference, table, feedback, verdict.diagnosis.estimate, verdict.drift.alpha)
    return scored if scored and scored.score.labels >= config.min_labels else None


def _words(no: int, scored: ScoredEstimate) -> str:
    estimate, labelled = scored.estimate, scored.labelled
    return (
        f"window {no} was estimated at {estimate.value:.1%} right ({estimate.low:.1%} to {estimate.high:.1%}); "
        f"{labelled.rows} labels say {labelled.value:.1%} ({labelled.low:.1%} to {labelled.high:.1%})"
    )
