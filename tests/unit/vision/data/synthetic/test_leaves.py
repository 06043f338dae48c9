import hashlib

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from vision.data.config import DrawnSource
from vision.data.features import FEATURES, describe
from vision.data.synthetic.dataset import draw_dataset, image_seed
from vision.data.synthetic.leaves import CLASSES, EXTRA_CLASS, draw_leaf, paint_over
from vision.data.synthetic.scene import encode, jpeg_quality
from vision.errors import UserError

SICK = tuple(label for label in CLASSES if label != "healthy")


def leaves(per_class: int, side_px: int):
    """[(label, seed, picture, mask)], as a drawn data set would have them."""
    for label in CLASSES:
        for index in range(per_class):
            seed = image_seed(7, label, index)
            yield label, seed, *draw_leaf(label, seed, side_px, "field")


@pytest.fixture(scope="module")
def drawn():
    return list(leaves(60, 96))


def accuracy(rows: list, labels: list[str]) -> float:
    """Of a random forest on images that it was not fitted to: five folds."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    forest = RandomForestClassifier(200, random_state=0)
    return float(cross_val_score(forest, np.array(rows), labels, cv=folds).mean())


def look(picture: np.ndarray) -> np.ndarray:
    """What a simple eye sees: a coarse view, joint colour histogram, and how many fine and middling edges there are."""
    coarse = np.asarray(Image.fromarray(picture).resize((8, 8), Image.Resampling.BOX)).ravel() / 255
    colours = np.histogramdd(picture.reshape(-1, 3), bins=5, range=[(0, 256)] * 3)[0].ravel() / picture[..., 0].size
    grey = picture.astype(np.float32).mean(axis=2)
    edges = [
        np.quantile(np.abs(ndimage.gaussian_laplace(grey, sigma)), (0.5, 0.8, 0.9, 0.95, 0.99))
        for sigma in (0.8, 1.6, 3)
    ]
    return np.concatenate([coarse, colours, *edges])


def test_the_same_label_and_seed_draw_the_same_picture():
    first, again = (draw_leaf("late_blight", 5, 64, "field") for _ in range(2))
    assert np.array_equal(first[0], again[0]) and np.array_equal(first[1], again[1])


def test_another_seed_draws_another_picture():
    first, other = (draw_leaf("healthy", seed, 64, "field")[0].astype(int) for seed in (5, 6))
    assert np.abs(first - other).mean() > 10


def test_masks_are_empty_for_healthy_leaves_and_sensible_for_the_sick(drawn):
    for label, seed, picture, mask in drawn:
        assert picture.shape == (96, 96, 3) and picture.dtype == np.uint8
        assert mask.shape == (96, 96) and mask.dtype == np.uint8 and set(np.unique(mask)) <= {0, 255}
        share = (mask > 0).mean()
        assert share == 0 if label == "healthy" else 0.01 < share < 0.5, (label, seed, share)


def test_no_class_gives_itself_away_by_how_much_of_the_leaf_is_ill(drawn):
    shares = {sick: np.mean([(mask > 0).mean() for label, _, _, mask in drawn if label == sick]) for sick in SICK}
    assert max(shares.values()) < 2 * min(shares.values()), shares


@pytest.mark.parametrize("label", [*SICK, EXTRA_CLASS])
def test_a_lesion_changes_the_picture_inside_its_mask_and_nowhere_else(label):
    for seed in range(6):
        picture, mask = draw_leaf(label, seed, 128, "field")
        without, _ = draw_leaf("healthy", seed, 128, "field")
        change = np.abs(picture.astype(int) - without).mean(axis=2)
        outside = ~ndimage.binary_dilation(mask > 0, iterations=5)
        assert change[outside].max() <= 3
        assert change[mask > 0].mean() > 8


def test_scenes_change_the_photograph_but_not_the_leaf():
    for seed in range(4):
        field, mask = draw_leaf("early_blight", seed, 96, "field")
        dark, dark_mask = draw_leaf("early_blight", seed, 96, "dark")
        other, other_mask = draw_leaf("early_blight", seed, 96, "other_camera")
        assert np.array_equal(mask, dark_mask) and np.array_equal(mask, other_mask)
        assert dark.mean() < 0.75 * field.mean()
        warmth = [float(p[..., 0].mean()) - float(p[..., 2].mean()) for p in (field, other)]
        assert warmth[1] > warmth[0] + 5


def test_an_unknown_label_or_scene_is_the_users_mistake():
    with pytest.raises(UserError, match="septoria_leaf_spot"):
        draw_leaf("rust", 1, 64, "field")
    with pytest.raises(UserError, match="other_camera"):
        draw_leaf("healthy", 1, 64, "underwater")


def test_different_leaves_are_not_near_duplicates(drawn):
    hashes = [int(describe(encode(picture, 92))["phash"], 16) for _, _, picture, _ in drawn]
    distances = np.bitwise_count(np.array(hashes, np.uint64)[:, None] ^ np.array(hashes, np.uint64)[None])
    assert distances[np.triu_indices(len(hashes), 1)].min() > 4


def content(root):
    return {p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in root.rglob("*.*")}


def test_a_data_set_is_drawn_whole_and_does_not_depend_on_its_size(tmp_path):
    config = DrawnSource(type="drawn", images_per_class=3, side_px=48, extra_class=True)
    steps = []
    draw_dataset(config, tmp_path / "three", lambda done, total: steps.append((done, total)))
    draw_dataset(config.model_copy(update={"images_per_class": 2}), tmp_path / "two", None)
    three, two = content(tmp_path / "three"), content(tmp_path / "two")
    assert steps == [(done, 15) for done in range(16)]
    assert len(three) == 30 and "images/leaf_mold/leaf_mold_00002.jpg" in three
    assert two.items() <= three.items()


def test_drawing_again_keeps_what_is_there_and_repairs_what_is_missing(tmp_path):
    config = DrawnSource(type="drawn", images_per_class=2, side_px=48)
    draw_dataset(config, tmp_path, None)
    before, gone = content(tmp_path), tmp_path / "masks/late_blight/late_blight_00001.png"
    gone.unlink()
    steps = []
    draw_dataset(config, tmp_path, lambda done, total: steps.append(done))
    assert content(tmp_path) == before
    assert steps == [7, 8]


@pytest.mark.slow
def test_processes_draw_the_same_bytes_as_one_process(tmp_path):
    draw_dataset(DrawnSource(type="drawn", images_per_class=101, side_px=32), tmp_path / "many", None)
    draw_dataset(DrawnSource(type="drawn", images_per_class=2, side_px=32), tmp_path / "few", None)
    assert content(tmp_path / "few").items() <= content(tmp_path / "many").items()


def test_the_feature_table_alone_does_not_tell_the_classes(drawn):
    rows = []
    for _, seed, picture, _ in drawn:
        row = describe(encode(picture, jpeg_quality(seed, "field")))
        rows.append([row[name] for name in FEATURES])
    assert accuracy(rows, [label for label, *_ in drawn]) < 0.60


@pytest.mark.slow
def test_leaves_with_their_lesions_painted_over_look_alike(drawn):
    """The same eye that tells the classes on the pictures themselves is near chance once the lesions are painted over.

    With the tissue of the leaf's healthy twin, what is left is what lesions do outside their masks; with guessed tissue
    the guess itself may leave traces, so that bound is wider.
    """
    labels = [label for label, *_ in drawn]
    twins = [draw_leaf("healthy", seed, 96, "field")[0] for _, seed, _, _ in drawn]
    seen = accuracy([look(picture) for _, _, picture, _ in drawn], labels)
    laid = [look(paint_over(row[2], row[3], twin)) for row, twin in zip(drawn, twins, strict=True)]
    guessed = [look(paint_over(picture, mask)) for _, _, picture, mask in drawn]
    assert seen > 0.60
    assert accuracy(laid, labels) < 0.38
    assert accuracy(guessed, labels) < min(0.45, seen - 0.2)


def test_painting_over_changes_only_what_lies_near_the_mask():
    picture, mask = draw_leaf("early_blight", 3, 96, "field")
    painted = paint_over(picture, mask)
    far = ~ndimage.binary_dilation(mask > 0, iterations=4)
    assert np.array_equal(painted[far], picture[far])
    assert np.abs(painted[mask > 0].astype(int) - picture[mask > 0]).mean() > 8
    healthy, nothing = draw_leaf("healthy", 3, 96, "field")
    assert np.array_equal(paint_over(healthy, nothing), healthy)
