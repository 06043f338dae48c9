"""From the lines of a release to the evidence for and against its challenger.

In shadow both answer the same image: what they say is compared image by image. In a canary they answer different
clients, so each answer of the challenger is compared with the champion's mean since the challenger's last one: what the
hour brings meets both. That still takes clients to be alike; where they aren't, shadow is the stage that tells.

A run of a batch is one measurement of time, and only batches of like size are compared: a canary's are smaller, and what
a small batch costs an image more is not the model's doing.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from vision.failures import Failure
from vision.monitoring.sequential import Interval, Span, compare_means, compare_rates, estimate_mean, estimate_rate
from vision.release import Release, ReleasedModel
from vision.rollout import ACCURACY, DISAGREEMENT, FAILURES, LATENCY, SINCE, UNSURE, Evidence, Limits, Measure
from vision.rollout_rows import Rows

if TYPE_CHECKING:
    import pandas as pd

TESTS = 12
"""Five in shadow, five in the canary, two of a new champion: each gets its part of the error level (Bonferroni)."""
LOG_RATIO_MAX = math.log(8)
"""A time beyond eight times the other counts as eight times: a hiccup of the machine is no property of the model."""
LOG_STEP = 0.01


def weigh(release: Release, rows: Rows, config: Limits) -> Evidence:
    """Of a release with a challenger. rows: of its number; what other packages answered under it is left out."""
    first, second = _of(rows, release.champion), _of(rows, release.challenger)
    challenger = second[second["route"] == release.mode]
    level = config.error_level / TESTS
    failures = _failures(rows, release.challenger)
    tested = len(challenger) + len(failures)
    sides = _pairs(first, challenger, rows) if release.mode == "shadow" else _neighbours(first, challenger, rows)
    measures = (
        Measure(name=FAILURES, found=estimate_rate(len(failures), tested, level), limit=config.max_failures),
        Measure(name=LATENCY, found=_latency(first, challenger, level), limit=config.max_latency_ratio),
        *_answers(sides, config, level),
    )
    at = rows.answers["at"]
    return Evidence(
        release_no=release.no,
        answers=len(challenger),
        champion_answers=len(first),
        pairs=len(sides.get(DISAGREEMENT, ())),
        failures=len(failures),
        labels=len(sides[ACCURACY]),
        clients=challenger["client_hash"].nunique(),
        refused=_refused(rows, release.challenger, challenger),
        first_at=at.min() if len(at) else None,
        last_at=at.max() if len(at) else None,
        measures=measures,
    )


def weigh_champion(release: Release, before: ReleasedModel, rows: Rows, config: Limits) -> Evidence:
    """Of a champion that was promoted, in two measures: both models while both answered, as labels of that time come in;
    and its answers since against those of the one before until then, which are of another time. There labels that were
    asked for don't count: each model's are of images that it found hard, and not every time has as many of them.

    rows: labelled ones, of `release` and of the ones that led to it.
    """
    level, limit = config.error_level / TESTS, config.accuracy_margin
    new, old = _of(rows, release.champion), _of(rows, before)
    alone = new["release_no"] == release.no
    sides = _same_time(old, new[~alone], rows)
    same = compare_means(sides[:, 0], sides[:, 1], level)
    volunteered = replace(rows, labels={name: rows.labels[name] for name in rows.labels.keys() - rows.asked_for})
    wrong = [_wrong(side, volunteered) for side in (new[alone], old)]
    since = compare_rates(*((int(side.sum()), len(side)) for side in wrong), level)
    return Evidence(
        release_no=release.no,
        champion_answers=int(alone.sum()),
        labels=since.count,
        measures=(Measure(name=ACCURACY, found=same, limit=limit), Measure(name=SINCE, found=since, limit=limit)),
    )


def _answers(sides: dict[str, np.ndarray], config: Limits, level: float) -> Iterable[Measure]:
    """sides: name -> what is compared, [N, 2] (challenger, champion), or [N] where it is a share of its own."""
    limits = {DISAGREEMENT: config.max_disagreement, UNSURE: config.max_unsure_rise, ACCURACY: config.accuracy_margin}
    for name, limit in limits.items():
        if name in sides:
            values = sides[name]
            alone = values.ndim == 1
            found = estimate_mean(values, level) if alone else compare_means(values[:, 0], values[:, 1], level)
            yield Measure(name=name, found=found, limit=limit)


def _of(rows: Rows, model: ReleasedModel) -> "pd.DataFrame":
    return rows.answers[rows.answers["package_sha"] == model.package_sha]


def _failures(rows: Rows, model: ReleasedModel) -> list[Failure]:
    """Images that it failed on."""
    return [one for one in rows.failures if one.package_sha == model.package_sha and one.route != "load"]


def _refused(rows: Rows, model: ReleasedModel, answers: "pd.DataFrame") -> str | None:
    """The last refusal to load it, unless it has answered since: a worker may look at a copy that is half done."""
    told = [one for one in rows.failures if one.package_sha == model.package_sha and one.route == "load"]
    if not told:
        return None
    last = max(told, key=lambda one: one.at)
    return None if any(at > last.at for at in answers["at"]) else last.error


def _wrong(answers: "pd.DataFrame", rows: Rows) -> np.ndarray:
    """float [N] of the labelled ones: 1 where the answer is not the label."""
    true = answers["id"].map(rows.labels)
    known = true.notna()
    return (answers["answer_label"][known] != true[known]).to_numpy(float)


def _pairs(first: "pd.DataFrame", second: "pd.DataFrame", rows: Rows) -> dict[str, np.ndarray]:
    """Both answers to one image; a label of either is the image's."""
    import pandas as pd

    both = second.drop_duplicates("pair_id").merge(first, left_on="pair_id", right_on="id", suffixes=("", "_first"))
    said = (
        rows.labels.get(one, rows.labels.get(other)) for one, other in zip(both["id_first"], both["id"], strict=True)
    )
    true = pd.Series(list(said), dtype=object, index=both.index)
    known = true.notna()
    wrong = [(both[name][known] != true[known]).to_numpy(float) for name in ("answer_label", "answer_label_first")]
    unsure = [1.0 - both[name].to_numpy(float) for name in ("answer_confident", "answer_confident_first")]
    # Records of before the service compared the answers itself have their labels alone.
    other = both["answer_label"] != both["answer_label_first"]
    differs = other.where(both["agrees"].isna(), both["agrees"].eq(False))
    return {
        DISAGREEMENT: differs.to_numpy(float),
        UNSURE: np.stack(unsure, axis=1),
        ACCURACY: np.stack(wrong, axis=1),
    }


def _neighbours(first: "pd.DataFrame", second: "pd.DataFrame", rows: Rows) -> dict[str, np.ndarray]:
    """Answers to different images at about the same time."""
    unsure = [(side["id"], 1.0 - side["answer_confident"].to_numpy(float)) for side in (second, first)]
    labelled = [side[side["id"].isin(rows.labels)] for side in (second, first)]
    wrong = [(side["id"], _wrong(side, rows)) for side in labelled]
    return {UNSURE: beside(*unsure), ACCURACY: beside(*wrong)}


def _same_time(first: "pd.DataFrame", second: "pd.DataFrame", rows: Rows) -> np.ndarray:
    """float [N, 2], wrong or not (challenger, champion): the images of a shadow, then the answers of the canary."""
    pairs = _pairs(first, second[second["route"] == "shadow"], rows)[ACCURACY]
    canary = second[second["route"] == "canary"]
    beside_it = first[first["release_no"].isin(canary["release_no"])]
    return np.concatenate([pairs, _neighbours(beside_it, canary, rows)[ACCURACY]])


def _latency(first: "pd.DataFrame", second: "pd.DataFrame", level: float) -> Interval:
    """The ratio of the geometric means of the time for an image, and its bounds."""
    found = [np.empty((0, 2))]
    one, other = (_runs(side) for side in (second, first))
    for size in sorted(set(one["size"]) & set(other["size"])):
        found.append(
            beside(*((runs["id"], runs["log_ms"]) for runs in (one[one["size"] == size], other[other["size"] == size])))
        )
    both = np.concatenate(found)
    logs = np.clip(both[:, 0] - both[:, 1], -LOG_RATIO_MAX, LOG_RATIO_MAX)
    # In steps: the bounds cost as much as there are different values.
    interval = estimate_mean(
        np.round(logs / LOG_STEP) * LOG_STEP, level, Span(-LOG_RATIO_MAX - LOG_STEP, LOG_RATIO_MAX + LOG_STEP)
    )
    value = None if interval.value is None else math.exp(interval.value)
    return Interval(value=value, low=math.exp(interval.low), high=math.exp(interval.high), count=interval.count)


def _runs(answers: "pd.DataFrame") -> "pd.DataFrame":
    """One row a batch, as far as it can be told: id, size (power of two that the batch fits in), log_ms an image."""
    timed = answers[answers["compute_ms"] > 0]
    # Images of a batch share both numbers. Among many batches some share them too: each counts, or only rare times would.
    turn = timed.groupby(["compute_ms", "batch_size"]).cumcount()
    runs = timed[turn % timed["batch_size"].astype(int) == 0]
    sizes = runs["batch_size"].astype(float)
    logs = np.log(runs["compute_ms"].astype(float) / sizes)
    return runs.assign(size=np.ceil(np.log2(sizes)).astype(int), log_ms=logs)[["id", "size", "log_ms"]]


def beside(second: tuple[Sequence[str], np.ndarray], first: tuple[Sequence[str], np.ndarray]) -> np.ndarray:
    """float [N, 2]: the means of `second` and of `first` in each stretch of time that holds at least one of both.

    Each given as (ids, values) in order of the ids. A stretch ends with an answer of `second`; each answer is used once.
    """
    marks = [(name, value, True) for name, value in zip(*second, strict=True)]
    marks += [(name, value, False) for name, value in zip(*first, strict=True)]
    found, ours, theirs = [], [], []
    for _, value, mine in sorted(marks):
        (ours if mine else theirs).append(value)
        if mine and theirs:
            found.append((np.mean(ours), np.mean(theirs)))
            ours, theirs = [], []
    return np.array(found, float).reshape(-1, 2)
