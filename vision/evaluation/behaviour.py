"""What a trained model must bear whatever its accuracy: behaviour tests after CheckList (Ribeiro et al. 2020).

Invariance: a flip, a small shift or a JPEG round trip leaves the answer. Direction: darker images make it less confident
on average. Minimum function: each class is found on clear images. A check fails only when chance is ruled out, at 2.5 % for
all checks together (one-sided score tests, Holm's correction): a model within every limit loses the gate by chance no more
often, however many classes it has. The images are one a family, so they count singly.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from vision.evaluation.checks import Check
from vision.evaluation.report import Part, Table
from vision.evaluation.resampling import holm, wilson
from vision.evaluation.slices import MARK
from vision.evaluation.style import percent
from vision.kinds.base import Answering
from vision.package import Spec

Judge = Callable[[np.ndarray], pd.DataFrame]
"""images uint8 [n, S, S, 3] -> one row an image, columns label (the answer) and confidence."""
LEVEL, SIGNIFICANCE, BATCH_IMAGES = 0.95, 0.025, 32
CHANGED = 0.10
"""Largest share of answers that an invariance may change."""
MINIMUM = 0.50
"""Smallest share of a class's clear images that must be right."""
LEAST_IMAGES = 8
"""Of a class, below which its minimum is not judged."""
SHIFT, JPEG_QUALITY, DARK = 0.03, 50, 0.35


@dataclass(frozen=True)
class Behaviour:
    """One check: what was asked, seen and allowed. group: invariance, direction or minimum.

    p: chance of seeing this, or worse, of a model that is just within the limit; None where it is not judged.
    """

    group: str
    name: str
    asked: str
    observed: str
    limit: str
    images: int
    p: float | None
    passed: bool = True


def judge_with(run: Callable[[np.ndarray], Mapping[str, np.ndarray]], kind: Answering, spec: Spec) -> Judge:
    """run: images -> the model's outputs, as an engine gives them."""
    size = (spec.input.side_px, spec.input.side_px)

    def judge(images: np.ndarray) -> pd.DataFrame:
        found = []
        for start in range(0, len(images), BATCH_IMAGES):
            outputs = run(images[start : start + BATCH_IMAGES])
            count = min(BATCH_IMAGES, len(images) - start)
            found += [kind.summary(answer) for answer in kind.answers(outputs, spec, [size] * count, 1)]
        return pd.DataFrame(found)

    return judge


def pick_images(rows: pd.DataFrame, most: int, seed: int = 0) -> np.ndarray:
    """int [n]: at most `most` row numbers, one a family, the labels in turn. rows: family and label."""
    shuffled = rows.reset_index(drop=True).sample(frac=1, random_state=seed).drop_duplicates("family")
    turn = shuffled.groupby("label").cumcount()
    order = shuffled.assign(turn=turn).sort_values(["turn", "label"], kind="stable")
    return np.sort(order.index.to_numpy()[:most])


def behave(judge: Judge, images: np.ndarray, rows: pd.DataFrame) -> list[Behaviour]:
    """All checks. images: uint8 [n, S, S, 3], to be changed. rows: the test images, one a family, with label and right (what
    the evaluation found) and any `slice:` columns; an image in none of those slices is a clear one."""
    usual = judge(images)
    found = [
        _invariance(name, judge(np.stack([change(image) for image in images])), usual)
        for name, change in INVARIANCES.items()
    ]
    found.append(_direction(judge((images * DARK).astype(np.uint8)), usual))
    clear = ~rows[[name for name in rows if str(name).startswith(MARK)]].any(axis=1)
    return corrected(found + [_minimum(label, part) for label, part in rows[clear].groupby("label", sort=True)])


def corrected(found: list[Behaviour]) -> list[Behaviour]:
    """Each with its p for all checks that are judged, and its result."""
    p_values = [one.p for one in found if one.p is not None]
    adjusted = iter(holm(np.array(p_values)) if p_values else ())
    with_p = [replace(one, p=float(next(adjusted))) if one.p is not None else one for one in found]
    return [replace(one, passed=one.p is None or one.p > SIGNIFICANCE) for one in with_p]


def _flip(image: np.ndarray) -> np.ndarray:
    return image[:, ::-1]


def _shift(image: np.ndarray) -> np.ndarray:
    """To the right and down; the edge is repeated."""
    px = max(1, round(SHIFT * len(image)))
    return np.pad(image, ((px, 0), (px, 0), (0, 0)), mode="edge")[: len(image), : image.shape[1]]


def _jpeg(image: np.ndarray) -> np.ndarray:
    from vision.monitoring.corruptions import jpeg

    return jpeg(image, JPEG_QUALITY, np.random.default_rng(0))


INVARIANCES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mirrored": _flip,
    f"shifted by {percent(SHIFT)} of its side": _shift,
    f"saved as JPEG of quality {JPEG_QUALITY}": _jpeg,
}


def _invariance(name: str, changed: pd.DataFrame, usual: pd.DataFrame) -> Behaviour:
    other = float((changed["label"].to_numpy() != usual["label"].to_numpy()).mean())
    low, high = wilson(other, len(usual), LEVEL)
    return Behaviour(
        group="invariance",
        name=name,
        asked="the answer stays",
        observed=f"{percent(other)} of the answers changed ({percent(low)} to {percent(high)})",
        limit=f"at most {percent(CHANGED)}",
        images=len(usual),
        p=_score_p(other - CHANGED, CHANGED, len(usual)),
    )


def _direction(darker: pd.DataFrame, usual: pd.DataFrame) -> Behaviour:
    change = (darker["confidence"] - usual["confidence"]).to_numpy(float)
    mean = float(change.mean())
    half = 1.96 * float(change.std(ddof=1)) / np.sqrt(len(change)) if len(change) > 1 else np.inf
    return Behaviour(
        group="direction",
        name=f"darkened to {percent(DARK)} of its light",
        asked="the confidence falls on average",
        observed=f"confidence {mean:+.3f} on average ({mean - half:+.3f} to {mean + half:+.3f})",
        limit="not above 0",
        images=len(change),
        p=_above(mean / (half / 1.96)) if half > 0 else float(mean <= 0),
    )


def _minimum(label: str, rows: pd.DataFrame) -> Behaviour:
    share = float(rows["right"].astype(bool).mean())
    low, high = wilson(share, len(rows), LEVEL)
    few = len(rows) < LEAST_IMAGES
    return Behaviour(
        group="minimum",
        name=f"{label} on clear images",
        asked="the class is found",
        observed=f"{percent(share)} right ({percent(low)} to {percent(high)})" + (", too few to judge" if few else ""),
        limit=f"at least {percent(MINIMUM)}",
        images=len(rows),
        p=None if few else _score_p(MINIMUM - share, MINIMUM, len(rows)),
    )


def _score_p(beyond: float, limit: float, count: int) -> float:
    """Of a share that is `beyond` its limit by so much, in `count` observations: the test that Wilson's interval inverts."""
    return _above(beyond / np.sqrt(limit * (1 - limit) / count))


def _above(z: float) -> float:
    from scipy.stats import norm

    return float(norm.sf(z))


def behaviour_part(found: list[Behaviour], of_images: int) -> Part:
    rows = tuple(
        (
            one.group,
            one.name,
            one.asked,
            one.observed,
            one.limit,
            str(one.images),
            "–" if one.p is None else f"{one.p:.3f}",
            "passed" if one.passed else "FAILED",
        )
        for one in found
    )
    sampled = found[0].images if found else 0
    note = (
        f"Changed were {sampled:,} of {of_images:,} images, one a family, the classes in turn; minima are of all "
        "images, one a family. Clear: in none of the named slices. In brackets: 95 % intervals. A check fails only where chance "
        "is ruled out: p, corrected for the number of checks (Holm), at most 0.025."
    )
    columns = ("kind", "what", "asked", "seen", "limit", "images", "p", "result")
    broken = sum(not one.passed for one in found)
    text = f"{len(found)} checks, {broken} broken." if broken else f"All {len(found)} checks hold."
    return Part(title="How it behaves", text=(text,), tables=(Table(title="", columns=columns, rows=rows, note=note),))


def behaviour_gate(found: list[Behaviour], how: str) -> list[Check]:
    """The checks as the gate asks them. how: `off`, `warn` (a broken one is a warning) or `hold` (it fails the gate)."""
    return [] if how == "off" else [_gate_check(one, how) for one in found]


def _gate_check(one: Behaviour, how: str) -> Check:
    reason = f"behaviour, {one.name}: {one.observed}, {one.limit} ({one.asked}) on {one.images} images"
    warning = reason if not one.passed and how == "warn" else ""
    passed = one.passed or how == "warn"
    got = f"{one.observed}; a warning, not held" if warning else one.observed
    return Check(f"behaviour: {one.name}", one.limit, got, passed, reason, warning)
