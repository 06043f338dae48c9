"""The words, figures and tables of a window's page."""

from collections.abc import Sequence

from configs.monitoring import MonitorConfig
from tasks.monitoring.judge_window import UNITS, headline
from tasks.monitoring.request_training import told
from tasks.monitoring.state import WindowScore, WindowVerdict
from vision.evaluation.report import Figure, Table
from vision.evaluation.style import percent
from vision.monitoring.drift import ColumnTest
from vision.monitoring.error_rates import DetectableShift
from vision.monitoring.performance import Estimate

SHOWN_WINDOWS = 10


def summary(verdict: WindowVerdict) -> str:
    first, last = (
        at.isoformat(sep=" ", timespec="minutes").removesuffix("+00:00") for at in (verdict.first_at, verdict.last_at)
    )
    others = f" {sum(verdict.others.values())} records of other models were left out." if verdict.others else ""
    return (
        f"{verdict.records:,} answers of version {verdict.model_version}, {first} to {last} UTC, beside the "
        f"{verdict.drift.reference_rows:,} held-back images that the model was tested on.{others}"
    )


def figures(verdict: WindowVerdict, config: MonitorConfig) -> tuple[Figure, ...]:
    drift = verdict.drift
    asked = f"drift from {drift.alpha:g} on, corrected over {len(drift.tests)} columns"
    shown = [
        Figure(name="p-value", value=f"{drift.p_value:.2g}", meaning=asked),
        Figure(
            name="changed windows",
            value=f"{verdict.changed_windows} of {verdict.windows_asked}",
            meaning=f"alarm from {config.alarm_windows} of {config.of_windows} on",
        ),
        Figure(name="columns that moved", value=f"{len(drift.drifted_columns)} of {len(drift.tests)}"),
        *_confidence(verdict),
        *_estimate("estimated accuracy", verdict.diagnosis.estimate, "without labels"),
        *_estimate("labelled accuracy", verdict.diagnosis.labelled, "on labelled answers"),
        *_own_rates(verdict),
    ]
    return tuple(shown)


def _confidence(verdict: WindowVerdict) -> list[Figure]:
    if verdict.mean_confidence is None or verdict.reference_mean_confidence is None:
        return []
    meaning = f"{verdict.reference_mean_confidence:.3f} on the reference"
    return [Figure(name="mean confidence", value=f"{verdict.mean_confidence:.3f}", meaning=meaning)]


def _estimate(name: str, estimate: Estimate | None, meaning: str) -> list[Figure]:
    if estimate is None:
        return []
    interval = f"{percent(estimate.low)} to {percent(estimate.high)}"
    return [
        Figure(
            name=name, value=percent(estimate.value), interval=interval, meaning=f"{meaning}, {estimate.rows:,} rows"
        )
    ]


def _own_rates(verdict: WindowVerdict) -> list[Figure]:
    """What the monitor measured of itself, beside its verdict."""
    rates = verdict.false_alarms
    if rates is None:
        return []
    by = ", ".join(f"{cause.replace('_', ' ')} {count}" for cause, count in rates.causes.items())
    meaning = f"{rates.alarms} of {rates.windows:,} windows without any change, all of them labelled{by and f': {by}'}"
    interval = f"{rates.low:.2%} to {rates.high:.2%}"
    sizes = f"windows of {rates.rows}; independent ones: {rates.per_alarm:.2g}, at most {rates.per_alarm_at_most:.2g}"
    return [
        Figure(name="false alarms a window", value=f"{rates.rate:.2%}", interval=interval, meaning=meaning),
        Figure(name="false alarms after k of n", value=f"{rates.per_alarm:.2g}", meaning=sizes),
    ]


def tests_table(verdict: WindowVerdict, views: dict[str, str]) -> Table:
    """One row a column. views: what Evidently says of it."""
    smallest = {shift.name: shift for shift in verdict.detectable}
    rows = tuple(
        (
            test.name.replace("_", " "), f"{test.effect:+.2f} {UNITS[test.kind]}" if test.effect else "–",
            _smallest(smallest.get(test.name)), f"{test.p_value:.2g}", f"{test.p_corrected:.2g}",
            "DRIFTED" if test.drifted else _note(test), views.get(test.name, "–"),
        )
        for test in sorted(verdict.drift.tests, key=lambda test: test.p_corrected)
    )  # fmt: skip
    columns = ("column", "moved by", "smallest found", "p", "p corrected", "result", "Evidently says")
    note = (
        f"Permutation tests on {verdict.drift.rows:,} rows of the window and {verdict.drift.reference_rows:,} of the reference. "
        "sd: standard deviations of the reference; V: Cramér's V; MMD: maximum mean discrepancy. Smallest found: the shift that "
        "19 of 20 windows of this size show (of a category: rows that turn into the rarest class). Evidently's column decides nothing."
    )
    return Table(title="What was tested", columns=columns, rows=rows, note=note)


def _smallest(shift: DetectableShift | None) -> str:
    if shift is None or shift.shift is None:
        return "–"
    return f"{shift.shift:g} sd" if shift.unit == "sd" else f"{shift.shift:.0%} of rows"


def _note(test: ColumnTest) -> str:
    return test.note or "passed"


def evidence_table(verdict: WindowVerdict) -> Table:
    rows = tuple(
        (line.name.replace("_", " "), line.words, "–" if line.p_value is None else f"{line.p_value:.2g}")
        for line in verdict.diagnosis.evidence
    )
    return Table(title="Evidence", columns=("what", "seen", "p"), rows=rows)


def history_table(windows: Sequence[WindowVerdict]) -> Table:
    """windows: the latest first."""
    rows = tuple(
        (
            str(one.no), one.at.isoformat(sep=" ", timespec="minutes").removesuffix("+00:00"), f"{one.records:,}",
            str(one.model_version), f"{one.drift.p_value:.2g}", headline(one), told(one.request) if one.alarm else "–",
        )
        for one in windows[:SHOWN_WINDOWS]
    )  # fmt: skip
    columns = ("window", "judged (UTC)", "records", "version", "p", "verdict", "training")
    return Table(title="The latest windows", columns=columns, rows=rows)


def scores_table(scores: Sequence[WindowScore]) -> Table:
    """scores: the latest first; each with labels enough."""
    rows, held = [], 0
    for one in scores[:SHOWN_WINDOWS]:
        estimate, labelled, score = one.scored.estimate, one.scored.labelled, one.scored.score
        held += score.covered
        rows.append((
            str(one.no), str(one.model_version), *map(_interval, (estimate, labelled)), f"{score.labels:,}",
            f"{100 * score.error:+.1f}", "yes" if score.covered else "no",
        ))  # fmt: skip
    columns = ("window", "version", "estimated", "labelled", "labels", "error, points", "in the interval")
    note = (
        f"Right answers as estimated without labels, and as labels that came later say, at equal confidence. In {held} of "
        f"{len(rows)} windows the estimate's interval holds what the labels say."
    )
    return Table(title="Estimates beside labels that came later", columns=columns, rows=tuple(rows), note=note)


def _interval(estimate: Estimate) -> str:
    return f"{percent(estimate.value)} ({percent(estimate.low)} to {percent(estimate.high)})"


def limitations(verdict: WindowVerdict) -> tuple[str, ...]:
    lines = [
        "Which images of a window belong together is not known: they are taken to come in families as the reference does."
    ]
    if verdict.diagnosis.estimate is not None:
        lines.append(f"The estimated accuracy is {verdict.diagnosis.estimate.note}.")
    if verdict.drift.window_rows > verdict.drift.rows:
        lines.append(f"Of {verdict.drift.window_rows:,} records a random {verdict.drift.rows:,} were tested.")
    if verdict.false_alarms is None:
        lines.append("The reference is too small to draw windows from: this monitor's own false alarms are not known.")
    return tuple(lines)
