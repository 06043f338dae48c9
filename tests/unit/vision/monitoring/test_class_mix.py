import pandas as pd
import pytest

from vision.monitoring.class_mix import mix_words, served_mix, with_mix


@pytest.mark.parametrize("sure", [12, 1])
def test_the_mix_is_seen_through_a_model_that_errs(draw_records, sure):
    """With 75 % accuracy the answers alone would say 70 %."""
    reference, window = draw_records(4000, 1, sure=sure), draw_records(4000, 2, mix=(8, 1, 1), sure=sure)
    mix = served_mix(reference, window)
    assert mix["aphids"] == pytest.approx(0.8, abs=0.03)
    assert mix.sum() == pytest.approx(1)


def test_answers_that_the_reference_never_gave_do_not_count(reference, served):
    window = served(mix=(1, 0, 0))
    strange = pd.concat([window, window.assign(answer_label="rust")])
    assert served_mix(reference, strange)["aphids"] > 0.9


def test_a_reference_with_another_mix_has_no_row_twice(reference):
    mixed = with_mix(reference, pd.Series({"aphids": 0.6, "blight": 0.3, "clean": 0.1}))
    assert not mixed.index.duplicated().any()
    shares = mixed["label"].value_counts(normalize=True)
    assert shares["aphids"] == pytest.approx(0.6, abs=0.02) and shares["clean"] == pytest.approx(0.1, abs=0.02)
    assert len(mixed) > 150


def test_a_mix_of_one_class_takes_all_of_it(reference):
    mixed = with_mix(reference, pd.Series({"aphids": 1.0, "blight": 0.0, "clean": 0.0}))
    assert set(mixed["label"]) == {"aphids"}
    assert len(mixed) == (reference["label"] == "aphids").sum()


def test_the_words_name_what_changed_most_first(reference):
    assert mix_words(reference, pd.Series({"aphids": 0.9, "blight": 0.05, "clean": 0.05})).startswith("aphids")
