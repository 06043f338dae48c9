"""The report's table of times: every stage of the run, in the order in which they ran."""

from pathlib import Path
from types import SimpleNamespace

from benchmarks.size import STAGES
from tasks.evaluation.report import _times
from tasks.stages import StageResult
from tasks.training.pretrain import Start
from tasks.training.trained import before

ALWAYS = ("ingest", *STAGES)


def stage(name, reused=False):
    return StageResult(stage=name, key="0" * 64, folder=Path(), made={}, seconds=1.5, reused=reused)


def times(*earlier):
    trained = SimpleNamespace(
        dataset=SimpleNamespace(seconds=2.0), manifest=stage("describe"), splits=stage("split"), contract=stage("validate"),
        pictures=stage("explore"), cache=stage("cache"), before=earlier, model=stage("train"), evaluation=stage("evaluate"),
        analysis=stage("analyse"),
    )  # fmt: skip
    return _times(trained, stage("export")).rows


def test_no_stage_is_left_out_and_the_size_benchmark_measures_the_same_ones():
    assert tuple(row[0] for row in times()) == ALWAYS


def test_pretraining_and_search_stand_before_the_training_that_they_led_to():
    rows = times(stage("pretrain", reused=True), stage("tune"))
    names = [row[0] for row in rows]
    assert names[names.index("cache") :][:4] == ["cache", "pretrain", "tune", "train"]
    assert {row[0]: row[2] for row in rows}["pretrain"] == "reused"


def test_what_ran_before_is_known_from_the_run_itself():
    found = stage("tune")
    tuned = SimpleNamespace(tuned=SimpleNamespace(found=found))
    assert before(tuned, Start(pretrained=stage("pretrain"))) == (stage("pretrain"), found)
    assert before(SimpleNamespace(tuned=None), Start()) == ()
