"""The gate: may this model be registered? Thresholds of the config, then the champion on the same test images.

Every check is a row (what was asked, what was got), so that a report shows all of them and the verdict is their sum.
"""

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from vision.errors import UserError
from vision.evaluation.checks import Check, GateInput, show
from vision.evaluation.config import GateConfig, SliceConfig
from vision.evaluation.gate_slices import slice_checks
from vision.evaluation.paired import compare
from vision.evaluation.slices import mark
from vision.kinds.base import Evaluation
from vision.verdict import Verdict


def gate_input(name: str, evaluation: Evaluation, slices: Mapping[str, SliceConfig] | None = None) -> GateInput:
    """slices: those that the gate may hold; they are cut from this evaluation's own images."""
    rows = mark(evaluation.rows, slices or {})
    return GateInput(name, evaluation.headline, evaluation.metrics, evaluation.per_class, rows)


def judge(candidate: GateInput, champion: GateInput | None, config: GateConfig) -> Verdict:
    """Passes when every check does. Reasons are the failures or, on a pass, what was measured.

    Raises `UserError` for a threshold on a metric that does not exist.
    """
    return verdict(checks(candidate, champion, config))


def checks(candidate: GateInput, champion: GateInput | None, config: GateConfig) -> tuple[Check, ...]:
    """All checks: thresholds, recall of each class, slices, and the paired comparison where there is a champion."""
    found = [*_thresholds(candidate.metrics, config), *_class_recalls(candidate.per_class, config)]
    found += slice_checks(candidate, config)
    if champion is not None:
        found += compare(candidate, champion, config)
    return tuple(found) or (_nothing_asked(candidate),)


def verdict(found: Sequence[Check]) -> Verdict:
    failed = tuple(check.reason for check in found if not check.passed)
    warnings = tuple(check.warning for check in found if check.warning)
    return Verdict(passed=not failed, reasons=failed or tuple(check.reason for check in found), warnings=warnings)


def _thresholds(metrics: Mapping[str, float], config: GateConfig) -> list[Check]:
    unknown = sorted((set(config.minimum) | set(config.maximum)) - set(metrics))
    if unknown:
        raise UserError(
            f"the gate asks for {', '.join(unknown)}, which was not measured",
            f"one of: {', '.join(sorted(metrics))}",
            "correct gate.minimum or gate.maximum in the system's YAML",
        )
    asked = [(name, limit, "minimum") for name, limit in config.minimum.items()]
    asked += [(name, limit, "maximum") for name, limit in config.maximum.items()]
    return [_threshold(name, metrics[name], limit, side) for name, limit, side in asked]


def _threshold(name: str, value: float, limit: float, side: str) -> Check:
    passed = value >= limit if side == "minimum" else value <= limit
    wanted, broken = (">=", "<") if side == "minimum" else ("<=", ">")
    got, against = show(value, limit), show(limit, value)
    if math.isnan(value):
        reason = f"{name} is undefined (NaN), {wanted} {against} was asked"
    else:
        reason = f"{name} {got} {wanted if passed else broken} {against} ({side})"
    return Check(name, f"{'≥' if side == 'minimum' else '≤'} {against}", got, bool(passed), reason)


def _class_recalls(per_class: pd.DataFrame, config: GateConfig) -> list[Check]:
    if config.min_class_recall <= 0:
        return []
    return [_class_recall(row, config.min_class_recall) for row in per_class.to_dict("records")]


def _class_recall(row: Mapping, limit: float) -> Check:
    recall, images = float(row["recall"]), int(row["images"])
    got, against = show(recall, limit), show(limit, recall)
    if math.isnan(recall):
        reason = f"{row['label']} recall is undefined: {images} test images (minimum {against} for each class)"
    else:
        sign = ">=" if recall >= limit else "<"
        reason = f"{row['label']} recall {got} {sign} {against} (minimum for each class) on {images} images"
    return Check(f"{row['label']} recall", f"≥ {against}", f"{got} on {images} images", bool(recall >= limit), reason)


def _nothing_asked(candidate: GateInput) -> Check:
    value = show(float(candidate.metrics[candidate.headline]))
    reason = f"{candidate.headline} {value}; no threshold asked, no champion to meet"
    return Check(candidate.headline, "nothing", value, True, reason, "the gate has no threshold and no champion")
