import numpy as np
import pandas as pd
import pytest

from vision.evaluation.behaviour import (
    MINIMUM,
    Behaviour,
    _score_p,
    behave,
    behaviour_gate,
    behaviour_part,
    corrected,
    judge_with,
    pick_images,
)
from vision.evaluation.gate import verdict
from vision.kinds import answering
from vision.package import InputSpec, Spec


def images(count=80, side=16):
    return np.random.default_rng(0).integers(60, 200, (count, side, side, 3), dtype=np.uint8)


def rows(count=80, right=True):
    return pd.DataFrame({"label": ["ab"[n % 2] for n in range(count)], "right": right, "family": range(count)})


def sound(batch):
    """Answers by something that no flip, shift or JPEG changes, less sure of dark images."""
    light = batch.reshape(len(batch), -1).mean(axis=1) / 255
    return pd.DataFrame({"label": "a", "confidence": 0.5 + 0.4 * light})


def broken(found):
    return [one.name for one in found if not one.passed]


def test_a_sound_model_passes_every_check():
    found = behave(sound, images(), rows())
    assert broken(found) == [] and len(found) == 6
    assert behaviour_part(found, 500).text == ("All 6 checks hold.",)
    assert "80 of 500 images" in behaviour_part(found, 500).tables[0].note


def test_a_model_that_looks_at_one_side_only_is_caught_by_the_mirror():
    def sided(batch):
        left = batch[:, :, :8].mean(axis=(1, 2, 3)) > batch[:, :, 8:].mean(axis=(1, 2, 3))
        return sound(batch).assign(label=np.where(left, "a", "b"))

    assert "mirrored" in broken(behave(sided, images(), rows()))


def test_a_model_that_is_surer_in_the_dark_is_caught():
    def owl(batch):
        return sound(batch).assign(confidence=1 - batch.mean(axis=(1, 2, 3)) / 255)

    assert broken(behave(owl, images(), rows())) == ["darkened to 35 % of its light"]


def test_a_class_that_is_never_found_is_caught_unless_too_few_images_show_it():
    found = behave(sound, images(), rows().assign(right=lambda table: table["label"] == "a"))
    assert broken(found) == ["b on clear images"]
    few = behave(sound, images(12), rows(12, right=False))
    assert broken(few) == [] and "too few to judge" in few[-1].observed


def found_of(classes, right, each=20):
    """behave() on `classes` classes of 20 images, of which the first is found `right` times and the others always."""
    labels = np.repeat([f"class {n:02d}" for n in range(classes)], each)
    table = pd.DataFrame({"label": labels, "right": True, "family": range(len(labels))})
    table.loc[right : each - 1, "right"] = False
    return behave(sound, images(len(labels)), table)


def test_what_damns_the_only_class_is_chance_among_twelve():
    assert broken(found_of(classes=1, right=4)) == ["class 00 on clear images"]
    assert broken(found_of(classes=12, right=4)) == []
    assert broken(found_of(classes=12, right=2)) == ["class 00 on clear images"]


def test_a_model_just_within_every_limit_hardly_ever_loses_by_chance_whatever_the_number_of_classes():
    rng, lost = np.random.default_rng(0), {1: 0, 12: 0}
    for classes in lost:
        for _ in range(400):
            right = rng.binomial(40, MINIMUM, classes) / 40
            p_values = [_score_p(MINIMUM - share, MINIMUM, 40) for share in right]
            checks = [Behaviour("minimum", "", "", "", "", 40, p) for p in p_values]
            lost[classes] += any(not one.passed for one in corrected(checks))
    assert all(count / 400 <= 0.045 for count in lost.values()), lost


def test_images_of_hard_slices_are_no_clear_ones():
    marked = rows().assign(right=False, **{"slice:dark": True})
    assert [one.group for one in behave(sound, images(), marked)].count("minimum") == 0


def test_a_few_changed_answers_are_put_down_to_chance():
    seen = []

    def shaky(batch):
        seen.append(len(batch))
        answers = np.array(["a"] * len(batch), dtype=object)
        if len(seen) == 2:
            answers[:12] = "b"  # 15 % of the mirrored ones, 9 % to 24 %
        return sound(batch).assign(label=answers)

    assert "mirrored" not in broken(behave(shaky, images(), rows()))


@pytest.mark.parametrize(
    ("how", "passed", "warned", "checks"), [("off", True, 0, 0), ("warn", True, 1, 6), ("hold", False, 0, 6)]
)
def test_the_gate_ignores_warns_or_holds(how, passed, warned, checks):
    found = behave(sound, images(), rows().assign(right=lambda table: table["label"] == "a"))
    asked = behaviour_gate(found, how)
    judged = verdict(asked)
    assert (judged.passed, len(judged.warnings), len(asked)) == (passed, warned, checks)


def test_images_are_one_a_family_and_the_classes_take_turns():
    table = pd.DataFrame({"label": ["a"] * 90 + ["b"] * 10, "family": [n // 2 for n in range(100)]})
    picked = pick_images(table, 20)
    chosen = table.iloc[picked]
    assert len(picked) == 20 == chosen["family"].nunique()
    assert (chosen["label"] == "b").sum() == 5  # all that there are
    assert (picked == pick_images(table, 20)).all()


def test_the_judge_asks_in_batches_by_the_way_a_server_answers():
    spec = Spec(
        schema=1, kind="classify", arch="x", labels=("a", "b"), input=InputSpec(side_px=16, resize_px=16),
        outputs=("logits", "embedding"), confident_at=0.7,
    )  # fmt: skip
    sizes = []

    def run(batch):
        sizes.append(len(batch))
        return {"logits": np.tile([0.0, 2.0], (len(batch), 1)), "embedding": np.zeros((len(batch), 32))}

    found = judge_with(run, answering("classify"), spec)(images(80))
    assert (
        sizes == [32, 32, 16]
        and set(found["label"]) == {"b"}
        and found["confidence"].iloc[0] == pytest.approx(0.88, abs=0.01)
    )
