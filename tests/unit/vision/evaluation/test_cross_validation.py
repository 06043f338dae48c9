"""Several folds as one figure."""

import numpy as np
import pytest
from scipy import stats

from vision.evaluation.cross_validation import Fold, folds_part, mean_of


def test_the_interval_counts_that_folds_share_their_training_images():
    values = [0.90, 0.92, 0.94, 0.91, 0.93]
    found = mean_of(values, [80] * 5, [20] * 5)
    assert found.value == pytest.approx(0.92)
    half = stats.t.ppf(0.975, 4) * np.std(values, ddof=1) * np.sqrt(1 / 5 + 20 / 80)
    assert (found.low, found.high) == pytest.approx((0.92 - half, 0.92 + half))
    low, high = stats.t.interval(0.95, 4, loc=0.92, scale=stats.sem(values))
    assert found.high - found.low > high - low


def test_one_fold_has_no_interval():
    with pytest.raises(ValueError, match="got 1"):
        mean_of([0.9], [80], [20])


def test_the_page_has_a_row_a_fold_the_mean_and_all_together(tmp_path):
    folds = [
        Fold(metrics={"macro_f1": value, "macro_f1_low": value - 0.1, "macro_f1_high": value + 0.05},
             trained=80, tested=20, epochs=3, cpu_seconds=12.5)
        for value in (0.8, 0.9)
    ]  # fmt: skip
    whole = {"macro_f1": 0.84, "macro_f1_low": 0.8, "macro_f1_high": 0.88}
    part = folds_part(folds, whole, "macro_f1", ["macro_f1"], tmp_path / "folds.png")
    (table,) = part.tables
    assert [row[0] for row in table.rows] == ["1", "2", "mean", "all together"]
    assert table.rows[-1][3] == "0.840 (0.800–0.880)" and table.rows[-2][2] == "40"
    assert part.text[0].startswith("macro f1 0.850 (95 %: ") and (tmp_path / "folds.png").stat().st_size > 5000
