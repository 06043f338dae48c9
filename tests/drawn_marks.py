"""Grey plates, some with a dark mark whose box is known: what an anomaly detector learns in a second."""

import numpy as np
import pandas as pd

from vision.kinds import answering, learning
from vision.models.config import MemoryConfig, ModelConfig
from vision.models.network import ServedModel
from vision.package import InputSpec, Spec
from vision.training.config import TrainingConfig
from vision.training.epoch import Plan
from vision.training.loaders import Loaders, SplitData
from vision.training.loop import fit
from vision.training.predict import predict

SIDE_PX, MARK_PX = 64, 12
LABELS = ("normal", "defect")
NORMAL, DEFECT = {"train": 16, "val": 6, "test": 8}, {"train": 4, "val": 6, "test": 8}
MEASURED = ("brightness", "contrast", "sharpness", "saturation")


def plates(seed=0):
    """images uint8 [48, 64, 64, 3] and their manifest rows, with splits and families of one image."""
    rng, rows, images = np.random.default_rng(seed), [], []
    for label, counts in (("normal", NORMAL), ("defect", DEFECT)):
        for split in (split for split, count in counts.items() for _ in range(count)):
            image = rng.normal(130, 12, (SIDE_PX, SIDE_PX, 1)).repeat(3, axis=2)
            boxes = []
            if label == "defect":
                x, y = (int(place) for place in rng.integers(4, SIDE_PX - MARK_PX - 4, 2))
                image[y : y + MARK_PX, x : x + MARK_PX] -= 90
                boxes = [{"label": "dent", "x1": x, "y1": y, "x2": x + MARK_PX, "y2": y + MARK_PX}]
            number = len(rows)
            rows.append({"path": f"{number}.png", "sha256": f"{number:064d}", "label": label, "split": split,
                         "family": f"f{number}", "boxes": boxes, "width_px": SIDE_PX, "height_px": SIDE_PX})  # fmt: skip
            images.append(image)
    table = pd.DataFrame(rows).assign(**{name: rng.random(len(rows)) for name in MEASURED})
    return np.clip(images, 0, 255).astype(np.uint8), table


class Plates:
    """A memory of them: what training, prediction and calibration give."""

    kind = answering("anomaly")
    learning = learning("anomaly")

    def __init__(self, rows=None, **memory):
        self.images, drawn = plates()
        self.rows = drawn if rows is None else rows
        self.config = MemoryConfig(**{"patches": 64, "numbers": 16, "hottest": 1, **memory})

    def model(self):
        network = self.learning.network(ModelConfig(memory=self.config), LABELS, seed=1, side_px=SIDE_PX)
        return ServedModel(network, self.kind.outputs, (0.5,) * 3, (0.25,) * 3)

    def indices(self, split):
        return np.flatnonzero((self.rows["split"] == split).to_numpy())

    def fit(self, model, on_epoch=None, resume=None, labels=("normal",)):
        """labels: of the training split that are shown."""
        train = self.indices("train")
        shown = train[self.rows["label"].iloc[train].isin(labels).to_numpy()]
        loaders = Loaders(self._split(shown), self._split(self.indices("val")))
        config = TrainingConfig(stages=(), stages_from_scratch=(), batch_size=8)
        return fit(model, loaders, Plan(self.learning, LABELS, self.input, config, ()), on_epoch, resume)

    def _split(self, indices):
        return SplitData(self.images, indices, self.learning.targets(self.rows.iloc[indices], LABELS))

    input = InputSpec(side_px=SIDE_PX, resize_px=SIDE_PX, crop="squash")
    spec = Spec(kind="anomaly", arch="resnet18", labels=LABELS, input=input, outputs=kind.outputs)

    def test(self, model):
        """Outputs, rows and spec of the test split."""
        outputs = {split: predict(model, self.images, self.indices(split), self.spec) for split in ("val", "test")}
        targets = self._split(self.indices("val")).targets
        spec = self.spec.model_copy(update=self.learning.calibrate(outputs["val"], targets))
        return outputs["test"], self.rows.iloc[self.indices("test")].reset_index(drop=True), spec
