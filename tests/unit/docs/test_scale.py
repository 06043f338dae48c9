"""docs/scale.md is what its inputs give, and what it quotes stands where it says."""

from pathlib import Path

import pytest

from benchmarks.scale import PAGE, PARTS, compute, names_in, read_inputs, values_of
from benchmarks.scale_measure import records
from benchmarks.scale_page import MEASURED, render

PROJECT = Path(__file__).resolve().parents[3]


def test_the_page_is_what_its_inputs_give():
    inputs = read_inputs()
    assert PAGE.read_text() == render(inputs, compute(inputs), PARTS), "python -m benchmarks.scale writes it"


def test_what_is_quoted_stands_on_its_page():
    gone = {
        name: one["page"]
        for name, one in read_inputs()["quoted"].items()
        if one["says"] not in (PROJECT / one["page"]).read_text()
    }
    assert gone == {}


def test_a_quoted_number_is_the_one_in_its_text():
    wrong = {}
    for name, one in read_inputs()["quoted"].items():
        plain = one["says"].replace(",", "").replace("_", "")
        if f"{one['value']:g}" not in plain and str(one["value"]) not in plain:
            wrong[name] = one
    assert wrong == {}


def test_every_input_is_used_and_every_name_is_known():
    inputs = read_inputs()
    known, used = set(values_of(inputs)), set()
    assert set(inputs["measured"]) == set(MEASURED)
    for lines in PARTS.values():
        for line in lines:
            assert names_in(line.formula) <= known, line
            used |= names_in(line.formula)
            known.add(line.name)
    # Told in words only.
    assert set(values_of(inputs)) - used <= {"max_rows", "release_run_seconds", "monitor_run_seconds"}


def test_another_input_gives_another_page():
    inputs = read_inputs()
    inputs["assumed"]["predictions"]["value"] *= 2
    assert PAGE.read_text() != render(inputs, compute(inputs), PARTS)


def test_a_record_is_as_long_as_it_was_measured(tmp_path):
    """By the service's own code, now: a field more in a record is a figure more on the page."""
    found, said = records(tmp_path, lines_written=2000), read_inputs()["measured"]
    for name in ("record_described_bytes", "record_plain_bytes"):
        assert found[name] == pytest.approx(said[name], rel=0.01)
    assert found["record_sealed_share"] == pytest.approx(
        said["record_sealed_share"], rel=0.5
    )  # smaller files, larger heads
