import pandas as pd
import pytest
from PIL import Image

from vision.evaluation.tuning_plots import _axis, parallel_coordinates

TRIALS = pd.DataFrame(
    {
        "lr_scale": [1.0, 0.1, 10.0],
        "training.batch_size": [32, 16, 32],
        "training.optimizer.name": ["adamw", "sgd", "adamw"],
        "val_macro_f1": [0.5, None, 0.9],
    }
)


def test_an_axis_that_spans_a_decade_is_logarithmic_and_words_stand_in_order():
    place, marks = _axis(TRIALS["lr_scale"])
    assert [place(value) for value in (0.1, 1.0, 10.0)] == pytest.approx([0, 0.5, 1])
    assert [text for _, text in marks] == ["0.1", "1", "10"]
    place, marks = _axis(TRIALS["training.optimizer.name"])
    assert (place("adamw"), place("sgd")) == (0.0, 1.0) and [text for _, text in marks] == ["adamw", "sgd"]
    assert _axis(pd.Series([0.2, 0.2]))[0](0.2) == 0.5


def test_the_picture_is_drawn_also_where_a_trial_has_no_score(tmp_path):
    path = parallel_coordinates(TRIALS, list(TRIALS.columns[:-1]), "val_macro_f1", tmp_path / "trials.png")
    with Image.open(path) as image:
        assert image.width > 500 and len(image.convert("RGB").getcolors(1 << 20)) > 50
