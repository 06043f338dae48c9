"""A detector's evaluation on drawn answers: some boxes right, some of another label, some nowhere, some missed."""

import numpy as np
import pandas as pd
import pytest

from vision.errors import UserError
from vision.evaluation import box_errors
from vision.evaluation.config import EvaluationConfig, GateConfig
from vision.evaluation.gate import gate_input, judge
from vision.kinds import learning
from vision.package import InputSpec, Spec

LABELS, SIZE_PX = ("dent", "pit"), (200, 100)
CONFIG = EvaluationConfig(bootstrap_samples=200)
SPEC = Spec(kind="detect", arch="a", labels=LABELS, input=InputSpec(side_px=64, resize_px=64, crop="squash"),
            outputs=("scores", "boxes", "embedding"), threshold=0.5)  # fmt: skip


def scene(images=24, seed=0, skill=1.0):
    """Rows, and outputs of a detector that finds a box with probability `skill` and makes one up on every sixth image."""
    rng = np.random.default_rng(seed)
    rows, boxes, scores = [], np.zeros((images, 6, 4), np.float32), np.zeros((images, 6, 2), np.float32)
    for number in range(images):
        places = range(0 if number % 4 == 3 else 1 + number % 2)
        known = [(int(rng.integers(2)), 0.4 * place + rng.uniform(0, 0.1), rng.uniform(0, 0.4)) for place in places]
        sides = [(label, x, y, x + 0.3, y + 0.4) for label, x, y in known]
        named = [
            {"label": LABELS[b[0]], "x1": b[1] * 200, "y1": b[2] * 100, "x2": b[3] * 200, "y2": b[4] * 100}
            for b in sides
        ]
        for place, (label, *box) in enumerate(sides):
            boxes[number, place] = box
            scores[number, place, label] = rng.uniform(0.6, 0.95) if rng.random() < skill else 0.0
        if number % 6 == 0:
            boxes[number, 5], scores[number, 5, 0] = (0.9, 0.9, 1.0, 1.0), 0.55
        rows.append({"path": f"{number}.png", "sha256": str(number), "family": f"f{number // 2}", "boxes": named,
                     "label": named[0]["label"] if named else "normal", "brightness": float(rng.random()),
                     "width_px": SIZE_PX[0], "height_px": SIZE_PX[1]})  # fmt: skip
    return pd.DataFrame(rows), {"boxes": boxes, "scores": scores, "embedding": np.ones((images, 32), np.float32)}


def evaluated(**settings):
    rows, outputs = scene(**settings)
    return learning("detect").evaluate(outputs, rows, SPEC, CONFIG), outputs


def test_a_detector_that_finds_everything_scores_high_and_its_made_up_boxes_cost_precision():
    found, _ = evaluated()
    metrics = found.metrics
    assert metrics["map50"] == pytest.approx(1.0, abs=0.02)
    assert metrics["map50_low"] <= metrics["map50"] + 1e-6 <= metrics["map50_high"] + 2e-6
    assert metrics["box_recall"] == 1.0 and metrics["defects_flagged"] == 1.0
    assert 0.7 < metrics["box_precision"] < 1.0
    assert metrics["accuracy"] == pytest.approx(20 / 24) == found.rows["right"].mean()


def test_a_worse_detector_scores_less_and_loses_its_gate():
    good, bad = (evaluated(skill=skill)[0] for skill in (1.0, 0.4))
    assert bad.metrics["map50"] < good.metrics["map50"] - 0.2
    config = GateConfig(minimum={"map50": 0.8}, min_class_recall=0.6)
    assert judge(gate_input("one", good), None, config).passed
    verdict = judge(gate_input("other", bad), None, config)
    assert not verdict.passed and any("map50" in reason for reason in verdict.reasons)
    lost = judge(gate_input("other", bad), gate_input("v1", good), GateConfig())
    assert not lost.passed and "share of right answers" in lost.reasons[0]


def test_normal_images_count_as_right_when_they_get_no_box_and_false_alarms_are_told():
    found, _ = evaluated()
    normal = found.rows[found.rows["label"] == "normal"]
    assert len(normal) == 6 and found.metrics["false_alarm_rate"] == (normal["answer"] != "normal").mean()


def test_the_pictures_and_chapters_are_made_also_of_rows_that_were_stored(tmp_path):
    found, outputs = evaluated(skill=0.6)
    found.rows.to_parquet(tmp_path / "rows.parquet", index=False)
    stored = type(found)(found.headline, found.metrics, found.per_class, pd.read_parquet(tmp_path / "rows.parquet"))
    images = np.zeros((24, 64, 64, 3), np.uint8)
    pictures = learning("detect").draw(stored, outputs, images, SPEC, tmp_path, 6)
    assert len(pictures) == 4 and all(path.stat().st_size > 5000 for path in pictures)
    missed, worst = learning("detect").errors(stored, images, SPEC, tmp_path)
    assert missed.tables[0].rows[0][0] == "dent" and worst.pictures[0].path.is_file()


def test_the_threshold_is_set_on_validation_images():
    rows, outputs = scene()
    kind = learning("detect")
    assert 0.55 < kind.calibrate(outputs, kind.targets(rows, LABELS))["threshold"] < 0.75


def test_images_without_a_single_box_cannot_be_evaluated():
    rows, outputs = scene(images=4)
    rows = rows.assign(boxes=[[]] * 4)
    with pytest.raises(UserError, match="no box in the 4 images"):
        learning("detect").evaluate(outputs, rows, SPEC, CONFIG)


@pytest.mark.parametrize(
    ("label", "box", "why"),
    [
        ("dent", (0.1, 0.1, 0.5, 0.5), "twice"),
        ("pit", (0.1, 0.1, 0.5, 0.5), "wrong label"),
        ("dent", (0.3, 0.3, 0.7, 0.7), "badly placed"),
        ("dent", (0.8, 0.8, 0.9, 0.9), "nothing there"),
    ],
)
def test_a_false_box_has_a_cause(label, box, why):
    def named(label, box):
        return {"label": label, **dict(zip(("x1", "y1", "x2", "y2"), box, strict=True))}

    assert box_errors.cause(named(label, box), [named("dent", (0.1, 0.1, 0.5, 0.5))]) == why
    assert box_errors.cause(named(label, box), []) == "nothing there"


def test_score_and_evaluation_agree():
    rows, outputs = scene(skill=0.7)
    kind = learning("detect")
    score = kind.score(outputs, kind.targets(rows, LABELS), LABELS)
    assert score["map50"] == pytest.approx(kind.evaluate(outputs, rows, SPEC, CONFIG).metrics["map50"], abs=5e-3)
    assert score["f1"] > 0.6
