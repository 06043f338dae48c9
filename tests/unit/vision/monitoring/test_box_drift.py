"""Drift of what a detector finds: how many boxes, how large, of which shape and where; most images have none."""

import numpy as np
import pandas as pd
import pytest
from uuid6 import uuid7

from configs.monitoring import MonitorConfig
from vision.data.features import FEATURES
from vision.kinds.found_boxes import COLUMNS
from vision.monitoring.columns import MIN_ROWS, embedded
from vision.monitoring.diagnosis import diagnose
from vision.monitoring.drift import find_drift
from vision.records import record_line
from vision.records_read import lines, to_table

CONFIG = MonitorConfig(permutations=399)
BOXES = [f"answer_{name}" for name in COLUMNS]
LABELS = ("aphids", "blight", "clean")


def with_boxes(table, seed, larger=1.0, lower=0.0):
    """An answer `clean` has no box, any other one to three. larger: of every box's share; lower: of its middle's place."""
    rng, rows = np.random.default_rng((seed, 77)), len(table)
    count = np.where(table["answer_label"] == "clean", 0, rng.integers(1, 4, rows))
    values = pd.DataFrame(
        {
            "answer_box_area": np.exp(rng.normal(-4, 0.5, rows)) * larger,
            "answer_box_aspect": np.exp(rng.normal(0, 0.4, rows)),
            "answer_box_x": rng.uniform(0.1, 0.9, rows),
            "answer_box_y": rng.uniform(0.1, 0.9, rows) * (1 - lower) + lower,
        },
        index=table.index,
    )
    return pd.concat(
        [table.assign(answer_boxes=count.astype(float)), values.mask(np.repeat(count[:, None] == 0, 4, axis=1))], axis=1
    )


def as_records(table):
    """The same rows as a monitor reads them: written as lines, without what is no number."""
    data = b""
    for row in table.to_dict("records"):
        answer = {"label": row["answer_label"], "boxes": [{"label": "x"}] * int(row["answer_boxes"])}
        data += record_line(
            {
                "id": str(uuid7()), "at": "2026-11-21T12:00:00Z", "package_sha": "a", "model_version": 1, "release_no": 1,
                "route": "champion", "batch_size": 1, "queue_ms": 0.0, "compute_ms": 1.0, "answer": answer,
                "features": {name: row[name] for name in FEATURES if name in row},
                "embedding": [row[name] for name in embedded(table)],
                "summary": {name: row[f"answer_{name}"] for name in COLUMNS},
                "confidence": row["answer_confidence"], "confident": bool(row["answer_confident"]),
            }
        )  # fmt: skip
    rows, ends = zip(*lines(data), strict=True)
    return to_table(list(rows), list(ends))


@pytest.fixture(scope="module")
def known(reference):
    return with_boxes(reference, 0)


@pytest.mark.parametrize(("name", "change"), [("answer_box_area", {"larger": 1.5}), ("answer_box_y", {"lower": 0.35})])
def test_boxes_that_are_larger_or_lie_elsewhere_are_found_named_and_a_reason_to_label(known, served, name, change):
    window = as_records(with_boxes(served(), 1, **change))
    found = find_drift(known, window, CONFIG)
    assert found.drifted_columns == (name,)
    told = diagnose(known, window, found, None, CONFIG, LABELS)
    words = {"answer_box_area": "size of boxes", "answer_box_y": "place of boxes, down"}[name]
    assert told.cause == "covariate_shift" and told.reasons[0].startswith(f"covariate_shift: {words} ({name}) moved")
    assert "queue_labels" in told.action


def test_boxes_of_windows_without_drift_are_called_drifted_as_rarely_as_stated(known, draw_records):
    config = MonitorConfig(permutations=199, alpha=0.05)
    windows = [with_boxes(draw_records(200, no), no) for no in range(1, 31)]
    # One reference for all: 0.05 of 30 is 1.5; 7 come once in 1,700 runs, and these seeds are fixed.
    assert sum(bool(set(find_drift(known, window, config, 7).drifted_columns) & set(BOXES)) for window in windows) < 7


def test_more_images_of_a_class_without_boxes_are_a_shift_of_classes_and_not_of_boxes(known, served):
    window = with_boxes(served(2, mix=(1, 1, 8)), 2)
    found = find_drift(known, window, CONFIG)
    assert "answer_boxes" in found.drifted_columns
    assert diagnose(known, window, found, None, CONFIG, LABELS).cause == "class_frequency_shift"


def test_too_few_boxes_are_not_tested_and_none_at_all_break_nothing(known, served):
    few = with_boxes(served(), 1)
    few.loc[few.index[MIN_ROWS - 5 :], BOXES[1:]] = np.nan
    none = as_records(few.assign(answer_boxes=0.0, **dict.fromkeys(BOXES[1:], np.nan)))
    for window in (few, none):
        tests = {test.name: test for test in find_drift(known, window, CONFIG).tests}
        assert "are needed" in tests["answer_box_area"].note and not tests["answer_box_area"].drifted
    assert {test.name for test in find_drift(known, none, CONFIG).tests if test.drifted} >= {"answer_boxes"}


@pytest.mark.slow
def test_evidentlys_report_holds_the_boxes_too(known, served, tmp_path):
    from tasks.monitoring.evidently_report import PAGE, Workspace, write_evidently

    window = with_boxes(served(), 1, larger=1.5)
    views = write_evidently(known, window, tmp_path, Workspace(tmp_path / "evidently", "tiny", 1), "window 1")
    assert set(BOXES) <= set(views)
    assert "answer_box_area" in (tmp_path / PAGE).read_text()
