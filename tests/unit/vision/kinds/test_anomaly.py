"""The kind `anomaly`, on grey plates of which some have a dark mark; a network that nobody trained remembers them."""

from types import SimpleNamespace

import jsonschema
import numpy as np
import pytest
import torch

from tests.drawn_marks import LABELS, MARK_PX, SIDE_PX, Plates
from vision.errors import UserError
from vision.evaluation.config import EvaluationConfig
from vision.models.config import MemoryConfig, ModelConfig

CONFIG = EvaluationConfig(bootstrap_samples=100)


@pytest.fixture(scope="module")
def plates():
    return Plates()


@pytest.fixture(scope="module")
def trained(plates):
    torch.set_num_threads(1)
    model, seen = plates.model(), []
    plates.fit(model, on_epoch=lambda record, state: seen.append((record, state)))
    return model, seen


@pytest.fixture(scope="module")
def tested(plates, trained):
    return plates.test(trained[0])


@pytest.fixture(scope="module")
def found(plates, tested):
    return plates.learning.evaluate(*tested, CONFIG)


def test_marks_are_told_from_plates_that_it_never_saw_marked(found):
    assert found.headline == "auroc" and found.metrics["auroc"] == 1.0
    assert found.metrics["recall_defect"] == 1.0 and found.metrics["false_alarm_rate"] <= 0.25
    assert found.metrics["auroc_low"] < 1.0, "eight plates can't show that it never errs"


def test_the_heat_points_at_the_mark_and_its_box_is_hit(found):
    assert found.metrics["pointing"] >= 0.75 > 5 * found.metrics["pointing_by_chance"]
    assert found.metrics["boxes_hit"] == 1.0


def test_filling_the_memory_is_one_epoch_with_its_figures(trained):
    [(record, state)] = trained[1]
    assert (record["epoch"], record["stage"], record["val_auroc"]) == (1, "finish", 1.0)
    assert record["calibration_images"] == 16 + 6 and record["stated_false_alarm_rate"] == 0.05
    assert state["best"]["memory"].abs().sum() > 0


def test_a_training_that_is_resumed_behind_its_finish_does_nothing_again(plates, trained):
    model, again = plates.model(), []
    done = plates.fit(model, on_epoch=lambda *seen: again.append(seen), resume=trained[1][0][1])
    assert not again and done.best_epoch == 1
    assert torch.equal(model.network.memory, trained[0].network.memory)


def test_the_memory_is_no_larger_than_its_cap_and_the_same_for_the_same_seed(plates, trained):
    other = plates.model()
    plates.fit(other)
    assert other.network.memory.shape == (64, 16)
    assert torch.equal(other.network.memory, trained[0].network.memory)


def test_only_normal_rows_are_learnt_from(plates):
    shown = plates.rows[plates.learning.learns_from(plates.rows)]
    assert set(shown["label"]) == {"normal"}


def test_a_plate_of_one_family_alone_is_too_few(plates):
    alone = Plates(rows=plates.rows.assign(family="one"))
    with pytest.raises(UserError, match="less than 2 families"):
        alone.fit(alone.model())


def test_other_labels_than_normal_and_defect_are_refused(plates):
    with pytest.raises(UserError, match="normal and defect, in this order"):
        plates.learning.network(ModelConfig(), ("cat", "dog"), 0)


def test_a_layer_that_the_backbone_has_not_is_told_with_those_it_has(plates):
    with pytest.raises(UserError, match="layer3, layer4"):
        plates.learning.network(ModelConfig(memory=MemoryConfig(layers=("layer9",))), LABELS, 0)


def test_an_answer_fits_its_schema_and_has_boxes_in_pixels_of_the_image_sent(plates, tested):
    outputs, rows, spec = tested
    sizes = [(2 * SIDE_PX, SIDE_PX)] * len(rows)  # as if each had been sent twice as wide
    answers = plates.kind.answers(outputs, spec, sizes, top_k=1)
    schema = plates.kind.answer_schema(spec)
    for answer, row in zip(answers, rows.to_dict("records"), strict=True):
        jsonschema.validate(answer, schema)
        if answer["label"] == "normal":
            assert answer["boxes"] == [] and answer["score"] <= answer["threshold"]
            continue
        x1, y1, x2, y2 = answer["boxes"][0]["box"]
        (true,) = row["boxes"]
        assert x1 < 2 * true["x1"] + MARK_PX < x2 and y1 < true["y1"] + MARK_PX / 2 < y2
        assert answer["confidence"] > 0.5 and 0 <= x1 < x2 <= 2 * SIDE_PX and 0 <= y1 < y2 <= SIDE_PX


def test_drift_is_measured_on_the_score_and_the_boxes(plates, tested):
    outputs, rows, spec = tested
    answers = plates.kind.answers(outputs, spec, [(SIDE_PX, SIDE_PX)] * len(rows), top_k=1)
    told = {answer["label"]: plates.kind.summary(answer) for answer in answers}
    assert told["normal"]["boxes"] == 0 and told["normal"]["box_area"] is None
    assert told["defect"]["boxes"] >= 1 and 0 < told["defect"]["box_area"] < 1 and told["defect"]["score"] > 1


def test_a_score_that_is_no_number_has_no_answer(plates):
    outputs = {"score": np.array([[np.nan]]), "heat": np.zeros((1, 4, 4))}
    with pytest.raises(ValueError, match="not finite"):
        plates.kind.answers(outputs, plates.spec, [(9, 9)], 1)


def test_runtimes_agree_within_the_tolerance_and_not_beyond(plates, tested):
    outputs, _, _ = tested
    moved = {name: values + 0.005 for name, values in outputs.items()}
    assert plates.kind.agree(outputs, outputs, 0.0) == (True, 0.0)
    assert plates.kind.agree(moved, outputs, 0.02)[0] and not plates.kind.agree(moved, outputs, 1e-3)[0]
    assert plates.kind.same_outputs(moved, outputs).all()


def test_a_normal_image_stays_cool_in_its_overlay(plates, tested):
    from PIL import Image

    outputs, rows, spec = tested
    grey = Image.new("RGB", (40, 30), (128, 128, 128))
    cool, hot = (
        plates.kind.overlay(grey, {"heat": outputs["heat"][[int(np.flatnonzero(rows["label"] == label)[0])]]}, spec, 64)
        for label in LABELS
    )
    assert hot.shape == (30, 40, 3)
    assert (hot != 128).any(axis=2).mean() > 5 * (np.abs(cool.astype(int) - 128) > 30).any(axis=2).mean()


def test_pictures_and_chapters_are_drawn(plates, tested, found, tmp_path):
    outputs, _, spec = tested
    images = plates.images[plates.indices("test")]
    names = {path.name for path in plates.learning.draw(found, outputs, images, spec, tmp_path, 6)}
    assert {"scores.png", "roc.png", "heat.png", "confusion_matrix.png"} <= names
    (part,) = plates.learning.errors(found, images, spec, tmp_path)
    assert "0 of 8 defects are missed" in part.text[0]


@pytest.mark.parametrize(
    ("stages", "arch", "told"),
    [((object(),), "resnet18", "training.stages must be empty"), ((), "ssdlite_resnet18", "no plain backbone")],
)
def test_a_config_that_a_memory_cannot_follow_is_refused(plates, stages, arch, told):
    training = SimpleNamespace(stages=stages, stages_from_scratch=())
    with pytest.raises(ValueError, match=told):
        plates.kind.check(SimpleNamespace(training=training, model=ModelConfig(arch=arch), input=plates.input))
