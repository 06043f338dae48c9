"""What the gate asks of slices: a floor that chance alone does not fail, too few images judged by nobody.

A slice fails when the upper end of its accuracy's interval is under the floor. The interval is Wilson's over the effective
number of families, one-sided at `significance` divided by the number of slices asked, so that a gate of ten slices fails a
model that is good enough no more often than a gate of one.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from vision.evaluation.checks import Check, GateInput, show
from vision.evaluation.config import GateConfig, SliceGate
from vision.evaluation.resampling import effective_count, wilson
from vision.evaluation.slices import MARK


def slice_checks(candidate: GateInput, config: GateConfig) -> list[Check]:
    """A check for each of `config.slices`; the candidate's rows are marked by `slices.mark`."""
    asked = {name: held for name, held in config.slices.items() if held.min_accuracy > 0}
    level = 1 - 2 * config.significance / max(1, len(asked))
    return [_check(name, held, candidate.rows, level) for name, held in asked.items()]


def slice_parts(shared: pd.DataFrame, slices: Mapping[str, SliceGate]) -> list[tuple[str, SliceGate, pd.DataFrame]]:
    """(name, what is asked, rows) of those slices of the images shared with the champion that have enough of them."""
    found = [(name, held, shared[_inside(shared, name)]) for name, held in slices.items()]
    return [(name, held, rows) for name, held, rows in found if len(rows) >= held.min_images]


def _check(name: str, held: SliceGate, rows: pd.DataFrame, level: float) -> Check:
    inside = rows[_inside(rows, name)]
    what, asked = f"slice {name}", f"≥ {held.min_accuracy:.2f}, or chance"
    if len(inside) < held.min_images:
        reason = f"{what} is not judged: {len(inside)} test images, fewer than the {held.min_images} asked for"
        return Check(what, asked, f"{len(inside)} images, not judged", True, reason, reason)
    accuracy = float(inside["right"].mean())
    low, high = wilson(accuracy, effective_count(inside["family"].to_numpy()), level)
    got, against = show(accuracy, held.min_accuracy), show(held.min_accuracy, accuracy)
    seen = f"({show(low)} to {show(high, held.min_accuracy)}) on {len(inside)} images"
    passed = high >= held.min_accuracy
    warning = ""
    if accuracy >= held.min_accuracy:
        reason = f"{what} accuracy {got} >= {against} {seen}"
    elif passed:
        reason = warning = f"{what} accuracy {got} is under {against}, which could be chance {seen}"
    else:
        reason = f"{what} accuracy {got} < {against}, and not by chance {seen}"
    return Check(what, asked, f"{got} {seen}", bool(passed), reason, warning)


def _inside(rows: pd.DataFrame, name: str) -> np.ndarray:
    column = f"{MARK}{name}"
    return rows[column].to_numpy(bool) if column in rows else np.zeros(len(rows), bool)
