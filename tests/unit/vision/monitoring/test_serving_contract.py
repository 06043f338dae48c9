import numpy as np
import pandas as pd
import pytest

from vision.data.features import FEATURES
from vision.monitoring.serving_contract import find_faults

ALPHA = 0.005


def faults(reference, window, **more):
    return [one.name for one in find_faults(reference, window, ALPHA, **more).evidence]


def first(window, rows, **values):
    """The window with these values in its first rows."""
    changed = window.copy()
    changed.loc[: rows - 1, list(values)] = list(values.values())
    return changed


def test_windows_without_fault_show_none(reference, served):
    found = [faults(reference, served(seed)) for seed in range(1, 41)]
    assert sum(map(bool, found)) <= 1


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"contrast": 0.002}, "blank"),
        ({"entropy": 1.5}, "burnt_out"),
        ({"width_px": 80.0}, "width_px"),
        ({"height_px": 2000.0}, "height_px"),
        ({"aspect": 1.778}, "aspect"),
        ({"file_bytes": 90_000.0}, "file_bytes"),
        ({"file_bytes": 600.0}, "file_bytes"),
    ],
)
def test_a_fault_in_a_tenth_of_the_images_is_found_and_counted(reference, served, values, name):
    found = find_faults(reference, first(served(), 20, **values), ALPHA)
    evidence = {one.name: one for one in found.evidence}
    assert list(evidence) == [name]
    assert evidence[name].seen == pytest.approx(0.1) and evidence[name].p_value <= ALPHA
    assert evidence[name].words.startswith("20 of 200 images") or evidence[name].words.startswith("20 of 200 files")
    assert found.rows.tolist() == [True] * 20 + [False] * 180


def test_a_family_of_large_images_among_families_of_many_sizes_is_no_fault(reference, served):
    family = np.arange(len(reference)) // 10
    known = reference.assign(family=family, width_px=1000.0 + family)
    window = served().assign(width_px=1001.0)
    assert faults(known, first(window, 10, width_px=3000.0)) == []
    assert faults(known, first(window, 200, width_px=3000.0)) == ["width_px"]
    assert faults(known.assign(width_px=1001.0), first(window, 10, width_px=3000.0)) == ["width_px"]


@pytest.mark.parametrize("values", [{"contrast": 0.002}, {"entropy": 1.5}, {"width_px": 80.0}])
def test_one_odd_image_is_no_fault(reference, served, values):
    assert faults(reference, first(served(), 1, **values)) == []


def test_what_the_reference_had_as_often_is_no_fault(reference, served):
    usual = reference.assign(contrast=np.where(np.arange(len(reference)) % 10 == 0, 0.002, reference["contrast"]))
    assert faults(usual, first(served(), 20, contrast=0.002)) == []


def test_a_camera_that_sends_one_image_over_and_over_is_a_fault(reference, served):
    window = served()
    stuck = pd.concat([window.iloc[:140], *[window.iloc[:1]] * 60], ignore_index=True)
    assert faults(reference, stuck) == ["repeated"]


def test_a_few_images_sent_twice_are_no_fault(reference, served):
    window = served()
    assert faults(reference, pd.concat([window.iloc[:190], window.iloc[:10]], ignore_index=True)) == []


def test_images_whose_features_were_not_measured_are_no_fault(reference, served):
    window = served()
    window.loc[:149, list(FEATURES)] = np.nan
    assert faults(reference, window) == []
    assert faults(reference, window.assign(**dict.fromkeys(FEATURES, np.nan))) == []


def test_four_digits_in_records_are_no_other_size(reference, served):
    wide = reference.assign(aspect=4 / 3, width_px=213.33333)
    assert faults(wide, served().assign(aspect=1.333, width_px=213.3)) == []


def test_lines_that_cannot_be_read_and_refused_images_count_against_the_pipeline(reference, served):
    window = served()
    window.attrs["unreadable"] = 1
    assert faults(reference, window) == []
    window.attrs["unreadable"] = 60
    assert faults(reference, window) == ["unreadable"]
    assert faults(reference, served(), refused=60) == ["refused"]


def test_a_hundred_thousand_records_take_seconds(reference, draw_records):
    assert faults(reference, first(draw_records(100_000, 3), 10_000, contrast=0.001)) == ["blank"]
