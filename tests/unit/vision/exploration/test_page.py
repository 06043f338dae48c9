import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from vision.data.config import DrawnSource, SplitConfig
from vision.data.features import FEATURES
from vision.data.manifest import describe_files, list_images
from vision.data.splits import assign
from vision.data.synthetic.dataset import draw_dataset
from vision.evaluation.report import write_report
from vision.exploration.page import DataSet, data_report
from vision.kinds import exploring


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Eight leaves a class, a copy of one under another label, and a file that is no image."""
    root = tmp_path_factory.mktemp("leaves")
    draw_dataset(DrawnSource(type="drawn", images_per_class=8, side_px=48, seed=5), root)
    first, second = sorted(path for path in (root / "images").iterdir() if path.is_dir())[:2]
    with Image.open(sorted(first.iterdir())[0]) as image:
        image.save(second / "copy_of_another.jpg", quality=95)
    (first / "broken.jpg").write_bytes(b"no image")
    return root, assign(describe_files(root, list_images(root)), SplitConfig(), None)


def page_of(root, rows, folder):
    data = DataSet(title="drawn <leaves>", rows=rows, root=root, bits=4, side_px=32)
    own = exploring("classify").explore(data.readable, root, folder, 8)
    report, facts = data_report(data, own, folder)
    return write_report(report, folder, "data.html").read_text(), facts


def test_the_page_tells_what_is_wrong_first_and_is_whole_in_itself(drawn, tmp_path):
    page, facts = page_of(*drawn, tmp_path)
    assert facts["unreadable"].value == 1 and facts["other_label"].value >= 1
    assert page.index("broken.jpg") < page.index("The classes") < page.index("Near-duplicates")
    assert "copy_of_another.jpg" in page and "drawn &lt;leaves&gt;" in page
    assert page.count("<img") == 7 and not re.findall(r'src="(?!data:)', page) and "<script" not in page


def test_data_of_one_class_or_of_no_readable_image_still_has_a_page(drawn, tmp_path):
    root, rows = drawn
    page, facts = page_of(root, rows[rows["label"] == rows["label"].iloc[0]], tmp_path / "one")
    assert "mixed" not in facts and "Images of each class" in page
    two = rows[rows["error"].isna()].groupby("label").head(1)
    alike = two.assign(**dict.fromkeys(FEATURES, 1.0))
    assert "A map of the data" in page_of(root, alike, tmp_path / "alike")[0]
    page, facts = page_of(root, rows[rows["error"].notna()], tmp_path / "none")
    assert facts["unreadable"].value == 1 and "broken.jpg" in page


def test_three_hundred_classes_keep_their_page_readable(drawn, tmp_path):
    root, rows = drawn
    many = pd.concat([rows[rows["error"].isna()]] * 10, ignore_index=True)
    many = many.assign(
        label=[f"class {n:03d}" for n in np.arange(len(many)) % 300], family=[str(n) for n in range(len(many))]
    )
    page, _ = page_of(root, many.assign(split="train"), tmp_path)
    assert "class 299" in page
    with Image.open(tmp_path / "spreads.png") as picture:
        assert max(picture.size) < 2500
