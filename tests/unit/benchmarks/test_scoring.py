"""The share of the raw limit: turns, and what is made of their times."""

import importlib

import pytest

from benchmarks import scoring
from benchmarks.scoring import rounds, share
from vision.scoring.inputs import reader
from vision.scoring.scorer import Scorer


def test_a_share_is_of_sums_and_its_interval_tells_how_the_rounds_differ():
    steady = share([0.95] * 20, [1.0] * 20)
    assert (steady.share, steady.low, steady.high) == (0.95, 0.95, 0.95)
    noisy = share([0.9, 1.0] * 10, [1.0] * 20)
    assert noisy.share == pytest.approx(0.95) and noisy.low < 0.95 < noisy.high


def test_scoring_and_the_raw_limit_take_turns_on_the_same_files(tmp_path, tmp_path_factory, monkeypatch):
    own = importlib.import_module("tests.serving.conftest")
    package = own.make_package(tmp_path_factory.mktemp("made")).package
    monkeypatch.setattr(scoring, "CHUNK_IMAGES", 6)
    monkeypatch.setattr(scoring, "SIDE_PX", 48)
    names = scoring.draw_files(tmp_path / "images")
    scored, raw = rounds(Scorer(package, reader()), names, tmp_path / "answers", 0.05)
    assert len(names) == 6 and len(scored) == len(raw) >= 1
    assert all(one.wall_s > 0 and one.cpu_s > 0 for one in (*scored, *raw))
    assert len(list((tmp_path / "answers" / "scores").glob("*.parquet"))) == len(scored)
