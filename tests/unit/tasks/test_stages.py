import json
import threading

import pytest

from tasks.stages import DONE, StagePlan, run_stage
from vision.settings import Section

ROOTS = ("vision.verdict",)


class Config(Section):
    rate: float = 0.1


def plan(**changes):
    return StagePlan(**{"stage": "train", "section": Config(), "inputs": {"data": "a"}, "roots": ROOTS, **changes})


def counted(calls):
    def work(folder):
        calls.append(folder)
        (folder / "model").write_text("weights")
        return {"score": 0.9}

    return work


def test_a_stage_that_is_there_is_not_run_again(tmp_path):
    calls = []
    first = run_stage(tmp_path, plan(), counted(calls))
    second = run_stage(tmp_path, plan(), counted(calls))
    assert (len(calls), first.reused, second.reused) == (1, False, True)
    assert second.made == {"score": 0.9} and second.folder == first.folder


@pytest.mark.parametrize(
    "change", [{"section": Config(rate=0.2)}, {"inputs": {"data": "b"}}, {"roots": ("vision.errors",)}]
)
def test_another_config_input_or_source_is_another_stage(tmp_path, change):
    calls = []
    run_stage(tmp_path, plan(), counted(calls))
    assert not run_stage(tmp_path, plan(**change), counted(calls)).reused
    assert len(calls) == 2


def test_a_stage_that_failed_leaves_no_result_and_starts_clean(tmp_path):
    def broken(folder):
        (folder / "half").write_text("x")
        raise RuntimeError("disk")

    with pytest.raises(RuntimeError, match="disk"):
        run_stage(tmp_path, plan(), broken)
    seen = []
    result = run_stage(tmp_path, plan(), lambda folder: seen.extend(folder.iterdir()) or {})
    assert not result.reused and seen == []


def test_a_resumable_stage_finds_what_was_left(tmp_path):
    def broken(folder):
        (folder / "checkpoint").write_text("epoch 3")
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        run_stage(tmp_path, plan(resumable=True), broken)
    result = run_stage(tmp_path, plan(resumable=True), lambda folder: {"from": (folder / "checkpoint").read_text()})
    assert result.made == {"from": "epoch 3"}


def test_a_result_whose_outside_part_is_gone_is_made_again(tmp_path):
    calls = []
    run_stage(tmp_path, plan(), counted(calls))
    assert not run_stage(tmp_path, plan(), counted(calls), whole=lambda made: False).reused
    assert len(calls) == 2


def test_two_at_once_run_it_once(tmp_path):
    calls, results = [], []

    def ask():
        results.append(run_stage(tmp_path, plan(), counted(calls)))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1 and sorted(result.reused for result in results) == [False, True, True, True]


def test_the_record_says_what_it_came_from(tmp_path):
    result = run_stage(tmp_path, plan(), counted([]))
    record = json.loads((result.folder / DONE).read_text())
    assert record["inputs"] == {"data": "a"} and record["key"] == result.key and "commit" in record["git"]


def test_a_stored_result_names_its_files_wherever_the_state_folder_was_moved_to(tmp_path):
    plan = StagePlan(stage="draw", roots=("vision.verdict",))
    made = run_stage(tmp_path / "old", plan, lambda folder: {"pictures": [str(folder / "a.png")], "page": folder}).made
    assert made["pictures"] == [str(tmp_path / "old" / "draw" / plan.key / "a.png")]
    (tmp_path / "old").rename(tmp_path / "new")
    moved = run_stage(tmp_path / "new", plan, lambda folder: {})
    folder = tmp_path / "new" / "draw" / plan.key
    assert moved.reused and moved.made == {"pictures": [str(folder / "a.png")], "page": str(folder)}
