import numpy as np
import pytest

from vision.kinds.classify import Classify, probabilities
from vision.package import InputSpec, Spec

KIND = Classify()


def spec(**changes) -> Spec:
    values = {"kind": "classify", "arch": "resnet18", "labels": ("a", "b", "c"), "input": InputSpec()}
    return Spec(**values | {"outputs": KIND.outputs, **changes})


def outputs(logits) -> dict[str, np.ndarray]:
    logits = np.asarray(logits, np.float32)
    return {"logits": logits, "embedding": np.zeros((len(logits), 32), np.float32)}


def test_probabilities_sum_to_one_and_survive_huge_logits():
    found = probabilities(np.array([[1e4, 0, -1e4], [0, 0, 0]]))
    np.testing.assert_allclose(found, [[1, 0, 0], [1 / 3] * 3])


def test_temperature_softens_without_changing_the_order():
    logits = np.array([[3.0, 1.0, 0.0]])
    sharp, soft = probabilities(logits, 0.5)[0], probabilities(logits, 4)[0]
    assert sharp[0] > soft[0]
    assert list(np.argsort(sharp)) == list(np.argsort(soft))


def test_logits_that_are_not_finite_have_no_answer():
    with pytest.raises(ValueError, match="not finite"):
        probabilities(np.array([[1.0, np.nan]]))


def test_answer_lists_the_best_classes_first_and_no_more_than_there_are():
    [first, second] = KIND.answers(outputs([[0, 2, 1], [5, 0, 0]]), spec(), [(9, 9)] * 2, top_k=2)
    assert [item["label"] for item in first["predictions"]] == ["b", "c"]
    assert (second["label"], second["confident"]) == ("a", True)
    [answer] = KIND.answers(outputs([[0, 2, 1]]), spec(), [(9, 9)], top_k=10)
    assert len(answer["predictions"]) == 3


def test_confidence_at_the_threshold_is_confident_and_below_it_is_not():
    logits = np.log([[0.7, 0.2, 0.1]])
    probability = probabilities(np.float32(logits))[0, 0]
    for threshold, confident in ((probability, True), (probability + 1e-9, False)):
        [answer] = KIND.answers(outputs(logits), spec(confident_at=threshold), [(9, 9)], 1)
        assert answer["confident"] is confident


def test_equal_logits_keep_the_order_of_the_labels():
    [answer] = KIND.answers(outputs([[0, 0, 0]]), spec(), [(9, 9)], 3)
    assert [item["label"] for item in answer["predictions"]] == ["a", "b", "c"]


def test_summary_is_what_drift_is_measured_on():
    [answer] = KIND.answers(outputs([[0, 9, 0]]), spec(), [(9, 9)], 3)
    summary = KIND.summary(answer)
    assert set(summary) == {"label", "confidence", "confident"}


def test_runtimes_agree_within_the_tolerance_only():
    wanted = outputs([[0, 9, 0], [4, 0, 1]])
    near = {name: values + 1e-4 for name, values in wanted.items()}
    agreed, difference = KIND.agree(near, wanted, 1e-3)
    assert agreed
    assert difference == pytest.approx(1e-4, rel=0.1)
    assert not KIND.agree({**wanted, "embedding": wanted["embedding"] + 0.1}, wanted, 1e-3)[0]
    assert not KIND.agree({**wanted, "logits": wanted["logits"][:1]}, wanted, 1e-3)[0]
    assert not KIND.agree({**wanted, "logits": wanted["logits"] * np.nan}, wanted, 1e-3)[0]


def test_runtimes_may_swap_two_classes_that_are_as_good_as_equal_and_no_others():
    wanted = outputs([[1.0, 1.00001, 0]])
    assert KIND.agree(outputs([[1.00001, 1.0, 0]]), wanted, 1e-3)[0]
    assert not KIND.agree(outputs([[1.3, 1.0, 0]]), outputs([[1.0, 1.3, 0]]), 1e-3)[0]
