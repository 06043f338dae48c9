"""The peer of the detectors' training benchmark learns from the boxes that ours learns from."""

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import plain_boxes
from benchmarks.plain_boxes import AnnotatedFiles, boxes_loop
from configs.load import load_system
from vision.data.boxes.annotations import ImageBoxes
from vision.data.boxes.geometry import Box

LABELS = ("dent", "pit")


@pytest.fixture
def files(tmp_path):
    """One bright square at the upper left of each picture, and a flawless picture."""
    shown = []
    for number in range(4):
        pixels = np.zeros((64, 48, 3), np.uint8)
        boxes = ()
        if number:
            pixels[8:24, 4:16] = 255
            boxes = (Box("pit", 4.0, 8.0, 16.0, 24.0),)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        shown.append(ImageBoxes(f"{number}.png", "pit" if boxes else "normal", boxes, (48, 64)))
    return AnnotatedFiles(tmp_path, shown, LABELS)


def test_boxes_go_where_the_pixels_go(files):
    torch.manual_seed(0)
    places = set()
    for _ in range(20):
        picture, target = files[1]
        (left, top, right, bottom) = target["boxes"][0].int().tolist()
        bright = torch.zeros_like(picture[0])
        bright[top:bottom, left:right] = 1
        assert torch.equal(picture[0], bright)
        places.add((left, top))
    assert len(places) == 4 and target["labels"].tolist() == [2], "0 is torchvision's background"


def test_a_flawless_picture_has_no_box_and_is_trained_on(files, monkeypatch):
    monkeypatch.setattr(plain_boxes, "LOADER_WORKERS", 0)
    assert files[0][1]["boxes"].shape == (0, 4)
    training = load_system("quickstart_defects").training.model_copy(update={"batch_size": 4})
    speed = boxes_loop(files, training, epochs=2)
    assert speed.images_per_s > 0 and speed.cpu_s_per_image > 0
