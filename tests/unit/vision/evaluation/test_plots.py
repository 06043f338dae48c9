import numpy as np
import pandas as pd
import pytest
from PIL import Image

from vision.evaluation import plots
from vision.evaluation.style import percent, readable


def opens(path):
    with Image.open(path) as picture:
        return min(picture.size) > 100


def test_training_curves_take_any_history(tmp_path):
    record = {"stage": "head", "lr": 1e-3, "train_loss": 1.0, "val_loss": 0.9, "val_macro_f1": 0.5, "seconds": 1.0}
    long = [record | {"stage": "head" if epoch < 3 else "all", "epoch": epoch} for epoch in range(8)]
    for history in (long, [record], [{"stage": "a", "lr": 0.0, "train_loss": 1.0, "val_map50": 0.1}]):
        assert opens(plots.training_curves(history, tmp_path / "curves.png"))


@pytest.mark.parametrize("classes", [2, 40, 101])
def test_confusion_matrix_of_any_number_of_classes(tmp_path, classes):
    confusion = np.eye(classes, dtype=int) * 7
    confusion[0] = 0  # a class without images
    labels = [f"a_rather_long_name_of_class_{number}" for number in range(classes)]
    assert opens(plots.confusion_matrix(confusion, labels, tmp_path / "c.png", normalised=True))


def test_class_distribution_and_samples_leave_out_unreadable_rows(tmp_path):
    (tmp_path / "images").mkdir()
    for number in range(4):
        Image.new("RGB", (40, 30), (number * 60, 90, 40)).save(tmp_path / f"images/{number}.png")
    splits = pd.DataFrame(
        {
            "path": [*(f"images/{number}.png" for number in range(4)), "images/broken.png"],
            "label": ["a", "b", "a", "b", "a"],
            "split": ["train", "train", "val", "test", None],
        }
    )
    assert opens(plots.class_distribution(splits, tmp_path / "classes.png"))
    assert opens(plots.sample_grid(splits, tmp_path, tmp_path / "samples.png"))


def test_pictures_leave_no_state_in_pyplot(tmp_path):
    import sys

    plots.training_curves([{"stage": "a", "lr": 1e-3, "train_loss": 1.0}], tmp_path / "curves.png")
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums()


def test_words_of_the_pictures():
    assert percent(0.999) == "99.9 %"
    assert percent(1.0) == "100 %"
    assert readable("late_blight") == "late blight"
    assert len(readable("x" * 80)) <= 24


def test_a_thousand_classes_make_pictures_that_can_be_looked_at(tmp_path):
    names = [f"class {number:04d}" for number in range(1000)]
    rates = {name: np.linspace(0, 1, 1000) for name in ("recall", "recall_low", "recall_high")}
    table = pd.DataFrame({"label": names, "images": 3, **rates})
    splits = pd.DataFrame({"label": names * 2, "split": ["train"] * 1000 + ["test"] * 1000})
    for path in (
        plots.recall_per_class(table, tmp_path / "recall.png"),
        plots.class_distribution(splits, tmp_path / "classes.png"),
    ):
        with Image.open(path) as picture:
            assert picture.height < 4000


def test_a_dollar_in_a_label_is_no_mathematics(tmp_path):
    splits = pd.DataFrame({"label": [r"$\frac{$", "b"], "split": ["train", "test"]})
    assert opens(plots.class_distribution(splits, tmp_path / "classes.png"))


def test_labels_named_by_group_are_coloured_by_it_and_others_are_not():
    crops = ["pepper_blight", "pepper_healthy", "potato_blight", "potato_healthy"]
    one, same, other, last = plots.group_colours(crops)
    assert one == same != other == last
    assert set(plots.group_colours(["early_blight", "late_blight", "healthy", "septoria"])) == {plots.INK}
    assert set(plots.group_colours(["leaf_a", "leaf_b"])) == {plots.INK}
