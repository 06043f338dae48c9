from types import SimpleNamespace

import numpy as np
import pandas as pd
from PIL import Image

from configs.load import load_system
from tasks.packaging.export_package import _images
from tasks.run import Run
from vision.package import InputSpec, sha256_file


def test_tflite_is_calibrated_on_readable_images_that_the_package_does_not_hold_back(tmp_path):
    folder = tmp_path / "data" / "images" / "a"
    folder.mkdir(parents=True)
    for number in range(6):
        Image.fromarray(np.full((40, 40, 3), 40 * number, np.uint8)).save(folder / f"{number}.png")
    (folder / "broken.png").write_bytes(b"no image")
    names = [f"images/a/{number}.png" for number in (0, 1)]
    shas = [sha256_file(tmp_path / "data" / name) for name in names]
    pd.DataFrame({"path": names, "sha256": shas}).to_parquet(tmp_path / "reference.parquet")
    run = Run.model_construct(config=load_system("quickstart", {}), dataset_folder=tmp_path / "data")
    package = SimpleNamespace(folder=tmp_path, spec=SimpleNamespace(input=InputSpec(side_px=16, resize_px=16)))
    calibration, (held, rows) = _images(run, package)
    assert calibration.shape == (4, 16, 16, 3) and sorted(calibration[:, 8, 8, 0]) == [80, 120, 160, 200]
    assert len(held) == len(rows) == 2 and held[0:9][:, 8, 8, 0].tolist() == [0, 40]
