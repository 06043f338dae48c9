"""Which model is recommended, on drawn answers whose truth is known."""

import numpy as np
import pandas as pd
import pytest

from vision.evaluation.comparison import Entry, pareto, recommended, standings
from vision.evaluation.comparison_page import comparison_part
from vision.evaluation.metrics import class_numbers, confusion_matrix, scores

LABELS = ("a", "b", "c")
IMAGES = 300


def entry(arch, wrong, ms, seed=42, **changes):
    """A model that answers `wrong` of the images with the next class. bfloat16 takes half of float32's time."""
    labels = np.arange(IMAGES) % 3
    answers = np.where(np.random.default_rng([seed, wrong]).permutation(IMAGES) < wrong, (labels + 1) % 3, labels)
    rows = pd.DataFrame({"path": [f"{n}.jpg" for n in range(IMAGES)], "family": [f"f{n // 2}" for n in range(IMAGES)]})
    rows["label"], rows["answer"] = (np.array(LABELS)[numbers] for numbers in (labels, answers))
    rows["right"] = rows["label"] == rows["answer"]
    found = scores(confusion_matrix(class_numbers(rows["label"], LABELS), class_numbers(rows["answer"], LABELS), 3))
    metrics = {f"{name}{end}": float(found[name]) for name in ("accuracy", "macro_f1") for end in ("", "_low", "_high")}
    device = {
        "parameters": 1_500_000,
        "size_mib": {"float32": 6.0, "int8": 1.8},
        "latency_ms": {"float32": 2 * ms, "bfloat16": ms, "int8": None},
        "int8": {"passed": False, "drop": 0.02},
    }
    known = {"headline": "macro_f1", "metrics": metrics, "rows": rows, "device": device}
    return Entry(arch, seed, **{**known, "cpu_seconds": 60.0, "epochs": 8, "budgeted": 10, "planned": 10, **changes})


def test_what_cant_be_told_from_the_best_is_bought_at_the_lower_price():
    found = standings([entry("slow", 20, 30.0), entry("quick", 24, 5.0), entry("poor", 120, 1.0)], 0.95, "bfloat16")
    assert [one.arch for one in found] == ["slow", "quick", "poor"]
    assert [one.worse for one in found] == [False, False, True]
    assert found[1].p > 0.05 > found[2].p and found[0].p is None
    assert found[1].difference_low < found[1].difference < found[1].difference_high
    assert recommended(found, "bfloat16").arch == "quick"


def test_the_best_is_taken_when_all_that_is_cheaper_is_worse(tmp_path):
    found = standings([entry("slow", 5, 30.0), entry("poor", 120, 1.0), entry("dear", 130, 60.0)], 0.95, "bfloat16")
    assert recommended(found, "bfloat16").arch == "slow"
    assert [one.arch for one in pareto(found, "bfloat16")] == ["poor", "slow"]
    part = comparison_part(found, "macro_f1", "bfloat16", 0.95, tmp_path / "pareto.png")
    assert (
        part.text[0]
        == f"Take slow: its macro_f1, {found[0].value:.3f}, is the best, and what is cheaper is worse (30.0 ms an answer)."
    )
    assert [point.text.rsplit("; ", 1)[-1] for point in part.points] == ["recommended.", "left.", "left."]
    assert part.tables[0].rows[0][:2] == (
        "slow",
        f"{found[0].accuracy:.3f} ({found[0].accuracy_low:.3f} to {found[0].accuracy_high:.3f})",
    )
    assert (tmp_path / "pareto.png").stat().st_size > 5000


def test_a_precision_that_the_device_has_not_costs_what_float32_costs():
    found = standings([entry("one", 20, 30.0), entry("other", 20, 5.0)], 0.95, "int8")
    assert found[0].arch == "other" and found[0].cost_ms("int8") == found[0].cost_ms("float32") == 10.0


def test_several_seeds_are_tested_together_and_shown_as_means():
    entries = [
        entry(arch, wrong, ms, seed)
        for arch, wrong, ms in (("slow", 30, 30.0), ("quick", 60, 5.0))
        for seed in (1, 2, 3)
    ]
    one_seed = standings([entries[0], entries[3]], 0.95, "float32")
    found = standings(entries, 0.95, "float32")
    assert found[0].seeds == (1, 2, 3)
    assert found[0].value == pytest.approx(np.mean([e.metrics["macro_f1"] for e in entries[:3]]))
    assert found[0].low < found[0].value < found[0].high
    assert found[1].p <= one_seed[1].p and found[1].worse


def test_equal_models_are_told_to_be_worse_no_more_often_than_asked():
    told = sum(
        standings([entry("a", 40, 1.0, n), entry("b", 40, 2.0, n + 500)], 0.95, "float32")[1].worse for n in range(40)
    )
    assert told <= 5  # the loser of each pair is tested, so up to a tenth and not a twentieth


def test_a_kind_without_answers_is_told_apart_by_right_and_wrong():
    few, many = entry("few", 5, 9.0), entry("many", 90, 1.0)
    plain = [entry(e.arch, 0, 9.0, headline="map50", metrics={"map50": value}, rows=e.rows.drop(columns="answer"))
             for e, value in ((few, 0.9), (many, 0.6))]  # fmt: skip
    found = standings(plain, 0.95, "float32")
    assert [one.worse for one in found] == [False, True]
    assert found[1].difference == pytest.approx(-0.3) and found[1].difference_low is None and found[0].accuracy is None


def test_models_that_were_tested_on_other_images_are_not_compared():
    other = entry("other", 5, 1.0)
    with pytest.raises(ValueError, match="other images"):
        standings(
            [entry("one", 5, 1.0), Entry(**{**vars(other), "rows": other.rows.iloc[::-1].reset_index(drop=True)})],
            0.95,
            "float32",
        )
