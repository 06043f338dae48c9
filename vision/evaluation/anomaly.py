"""Evaluates and draws the kind `anomaly`: does the score order images, does the threshold hold, does the heat point at it?

Answers of normal or defect are scored as a classifier's; what is an anomaly detector's own comes beside that.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from vision.data.boxes.geometry import DEFECT, NORMAL, boxes_of, overlaps, scaled, usable
from vision.evaluation import classification
from vision.evaluation.config import EvaluationConfig
from vision.evaluation.ranking import ranked_apart
from vision.evaluation.resampling import effective_count, wilson
from vision.explain.heat import hot_areas, hottest_point
from vision.explain.pointing import TOLERANCE
from vision.kinds.anomaly import evidence
from vision.kinds.base import Evaluation
from vision.package import InputSpec, Spec
from vision.preprocess import input_box

if TYPE_CHECKING:
    from vision.data.cache import Crops
    from vision.evaluation.report import Part

HEADLINE = "auroc"
OUTWARD = np.array([-1.0, -1.0, 1.0, 1.0])


def evaluate(outputs: Mapping[str, np.ndarray], rows: pd.DataFrame, spec: Spec, config: EvaluationConfig) -> Evaluation:
    """A classifier's metrics, and auroc, false_alarm_rate, recall_defect (each with its interval over families), pointing and
    boxes_hit (of defects whose boxes are known). Rows get `score` and `pointed` (None without boxes)."""
    found = classification.evaluate({"logits": evidence(outputs["score"])}, rows, spec, config)
    scores, defect = outputs["score"][:, 0], (rows["label"] != NORMAL).to_numpy()
    families = rows["family"].to_numpy()
    figures = _with_interval("auroc", ranked_apart(scores, defect, families, config))
    shares = {"false_alarm_rate": ~defect, "recall_defect": defect}
    for name, part in shares.items():
        figures |= _with_interval(name, _share(scores[part] > 1, families[part], config.interval))
    places = _places(rows, outputs["heat"], spec.input)
    pointed = places["pointed"].dropna().to_numpy(bool)
    if len(pointed):
        known = families[places["pointed"].notna()]
        figures |= _with_interval("pointing", _share(pointed, known, config.interval))
        figures["boxes_hit"] = float(places["hit"].sum() / places["boxes"].sum())
        figures["pointing_by_chance"] = float(places["chance"].mean())
    added = {"score": scores.astype(float), "pointed": places["pointed"].to_numpy()}
    return Evaluation(HEADLINE, found.metrics | figures, found.per_class, found.rows.assign(**added))


def seen_boxes(row: Mapping, spec: InputSpec) -> np.ndarray:
    """The boxes of a manifest row in 0..1 of the model's input, float64 [n, 4]; those that it doesn't see are left out."""
    width, height = int(row["width_px"]), int(row["height_px"])
    known = scaled(usable(boxes_of(row.get("boxes")), width, height), 1.0, 1.0).astype(np.float64)
    left, top, right, bottom = input_box((width, height), spec)
    shares = (known - [left, top, left, top]) / [right - left, bottom - top, right - left, bottom - top]
    cut = np.clip(shares, 0.0, 1.0)
    return cut[(cut[:, 2] > cut[:, 0]) & (cut[:, 3] > cut[:, 1])]


def draw(
    evaluation: Evaluation,
    outputs: Mapping[str, np.ndarray],
    images: "np.ndarray | Crops",
    spec: Spec,
    folder: Path,
    grid_images: int = 25,
) -> list[Path]:
    """Scores with the threshold, ROC, the hottest images under their heat, and a classifier's pictures."""
    from vision.evaluation import anomaly_plots

    rows = evaluation.rows
    own = [
        anomaly_plots.score_histogram(rows, folder / "scores.png"),
        anomaly_plots.roc(rows, evaluation.metrics, folder / "roc.png"),
        anomaly_plots.heat_grid(rows, outputs["heat"], images, folder / "heat.png", grid_images),
    ]
    logits = {**outputs, "logits": evidence(outputs["score"])}
    return own + classification.draw(evaluation, logits, images, spec, folder, grid_images)


def error_parts(evaluation: Evaluation, spec: Spec) -> "tuple[Part, ...]":
    """What an anomaly detector misses and what it takes for a defect, and what other thresholds would do."""
    from vision.evaluation.report import Part, Table
    from vision.evaluation.style import percent

    rows = evaluation.rows
    normal, defect = (rows.loc[rows["label"] == label, "score"].to_numpy() for label in (NORMAL, DEFECT))
    told = [
        (f"{at:g}", percent(float(np.mean(normal > at))), percent(float(np.mean(defect > at))))
        for at in (0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5)
        if len(normal) and len(defect)
    ]
    note = "1 is the threshold that was set from normal images; what another one does is measured on these images."
    table = Table(title="", columns=("threshold", "false alarms", "defects found"), rows=tuple(told), note=note)
    missed, alarms = int((defect <= 1).sum()), int((normal > 1).sum())
    text = (
        f"{missed} of {len(defect)} defects are missed, {alarms} of {len(normal)} normal images are called defects. "
        "It has never seen a defect before."
    )
    return (Part(title="Missed defects and false alarms", text=(text,), tables=(table,) if told else ()),)


def _places(rows: pd.DataFrame, heat: np.ndarray, spec: InputSpec) -> pd.DataFrame:
    """One row an image: pointed (is the hottest place on a box, give or take the pointing game's tolerance; None without
    boxes), boxes, hit (of them, by an area above the threshold), chance (that a random place points)."""
    found = []
    for row, one in zip(rows.to_dict("records"), heat, strict=True):
        boxes = seen_boxes(row, spec)
        if not len(boxes):
            found.append({"pointed": None, "boxes": 0, "hit": 0, "chance": np.nan})
            continue
        wider = np.clip(boxes + TOLERANCE * OUTWARD, 0.0, 1.0)
        x, y = hottest_point(one)
        on = (wider[:, 0] <= x) & (x <= wider[:, 2]) & (wider[:, 1] <= y) & (y <= wider[:, 3])
        areas = np.array([box for _, box in hot_areas(one)]).reshape(-1, 4)
        hit = int((overlaps(boxes, areas) > 0).any(axis=1).sum())
        found.append({"pointed": bool(on.any()), "boxes": len(boxes), "hit": hit, "chance": _covered(wider)})
    return pd.DataFrame(found, columns=["pointed", "boxes", "hit", "chance"]).astype({"pointed": object})


def _covered(boxes: np.ndarray, cells: int = 100) -> float:
    """Share of the image that the boxes cover together."""
    middles = (np.arange(cells) + 0.5) / cells
    across = (boxes[:, :1] <= middles) & (middles <= boxes[:, 2:3])
    down = (boxes[:, 1:2] <= middles) & (middles <= boxes[:, 3:])
    return float((down[:, :, None] & across[:, None, :]).any(axis=0).mean())


def _share(hits: np.ndarray, families: np.ndarray, level: float) -> tuple[float, float, float]:
    """With Wilson's interval over the effective number of families; not a number for none."""
    share = float(np.mean(hits)) if len(hits) else float("nan")
    return (share, *wilson(share, effective_count(families), level))


def _with_interval(name: str, found: tuple[float, float, float]) -> dict[str, float]:
    return dict(zip((name, f"{name}_low", f"{name}_high"), found, strict=True))
