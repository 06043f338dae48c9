"""The page that goes with an exported package: its code makes the input that the package was trained with."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from vision.export.handover import _load, _resize
from vision.package import InputSpec, Spec
from vision.preprocess import preprocess


@pytest.mark.parametrize("decoder", ["pil", "pil_draft"])
@pytest.mark.parametrize("crop", ["center", "squash"])
def test_its_code_makes_the_packages_input_of_a_large_photograph(decoder, crop, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    noise = np.random.default_rng(0).integers(0, 256, (600, 800, 3), np.uint8)
    Image.fromarray(noise).save("photo.jpg", quality=92)
    given = InputSpec(side_px=112, resize_px=128, decoder=decoder, crop=crop)
    spec = Spec(kind="classify", arch="resnet18", labels=("a", "b"), input=given, outputs=("logits", "embedding"))
    names = {"Image": Image, "ImageOps": ImageOps, "photo": Image.open("photo.jpg").convert("RGB")}
    exec(f"{_load(spec)}\n{_resize(spec)}", names)
    wanted = preprocess((tmp_path / "photo.jpg").read_bytes(), given).astype(int)
    assert np.abs(np.asarray(names["image"]).astype(int) - wanted).max() <= 1
