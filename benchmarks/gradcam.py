"""Does the heat of `/explain` fall on the lesions? The pointing game on leaves drawn anew, whose lesions are known exactly.

The champion's `explain.onnx` as it is served, beside networks of its architecture with random weights, a point taken at
random and the middle of the image. Healthy leaves have nothing to point at and are left out. The heat is that of the
leaf's true class. The last line is JSON.
"""

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import yaml

from benchmarks.drift_records import champion
from configs.load import settings
from vision.data.synthetic.dataset import image_seed
from vision.data.synthetic.leaves import CLASSES, draw_leaf
from vision.data.synthetic.scene import encode, jpeg_quality
from vision.explain.pointing import Rate, hit_area, mask_input, play, rate
from vision.export.runtime import onnx_run
from vision.package import Package, open_package
from vision.preprocess import preprocess

SEED, SIDE_PX, BATCH = 77_001, 160, 16
"""SEED: of no data set that a system is made from."""
GOAL = 0.9
Explain = Callable[[np.ndarray], Mapping[str, np.ndarray]]
"""images uint8 [N, S, S, 3] -> logits [N, K], heatmaps [N, K, g, g]."""


@dataclass(frozen=True)
class Leaves:
    """images uint8 [n, S, S, 3]; areas: bool [S, S] each, where a hit may lie; labels: names."""

    images: np.ndarray
    areas: list[np.ndarray]
    labels: list[str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--each", type=int, default=50, help="leaves of each disease")
    parser.add_argument("--untrained", type=int, default=5, help="networks with random weights")
    parser.add_argument("--package", type=Path, help="default: quickstart's champion")
    parser.add_argument("--anew", action="store_true", help="explain.onnx made anew of the package's weights")
    asked = parser.parse_args()
    package = open_package(asked.package or champion(Path(settings().state), "quickstart"))
    leaves = draw_leaves(package, asked.each)
    explain = _trained(package) if asked.anew else onnx_run(package.folder / "explain.onnx")
    logits, hits = judge(explain, leaves, package)
    right = logits.argmax(axis=1) == [package.spec.labels.index(label) for label in leaves.labels]
    untrained = [judge(_untrained(package, seed), leaves, package)[1] for seed in range(asked.untrained)]
    middle = [bool(area[area.shape[0] // 2, area.shape[1] // 2]) for area in leaves.areas]
    found = {
        "champion": rate(hits),
        "champion, right answers": rate(hits[right]),
        "untrained": rate(np.concatenate(untrained)),
        "middle of the image": rate(np.array(middle)),
    }
    chance = float(np.mean([area.mean() for area in leaves.areas]))
    _print(found, chance, right, {label: hits[np.array(leaves.labels) == label] for label in set(leaves.labels)})
    figures = {name.replace(", ", "_").replace(" ", "_"): asdict(one) for name, one in found.items()}
    print(
        json.dumps(
            {"benchmark": "gradcam", "package_sha": package.package_sha, "chance": chance, "goal": GOAL, **figures}
        )
    )


def draw_leaves(package: Package, each: int) -> Leaves:
    """`each` leaves of every disease that has a lesion to point at, from file bytes as a server gets them."""
    images, areas, labels = [], [], []
    for label in CLASSES:
        for seed in (image_seed(SEED, label, index) for index in range(each)):
            picture, lesions = draw_leaf(label, seed, SIDE_PX)
            mask = mask_input(lesions, package.spec.input)
            if mask.any():
                images.append(preprocess(encode(picture, jpeg_quality(seed, "field")), package.spec.input))
                areas.append(hit_area(mask))
                labels.append(label)
    return Leaves(np.stack(images), areas, labels)


def judge(explain: Explain, leaves: Leaves, package: Package) -> tuple[np.ndarray, np.ndarray]:
    """(logits [n, K], hits bool [n])."""
    logits, heat = [], []
    for start in range(0, len(leaves.images), BATCH):
        found = explain(leaves.images[start : start + BATCH])
        names = leaves.labels[start : start + BATCH]
        logits.append(found["logits"])
        heat += [maps[package.spec.labels.index(name)] for maps, name in zip(found["heatmaps"], names, strict=True)]
    return np.concatenate(logits), play(heat, leaves.areas)


def _trained(package: Package) -> Explain:
    from vision.models.network import load_model

    return _explaining(load_model(_network(package, seed=0), package.folder / "model.safetensors"))


def _untrained(package: Package, seed: int) -> Explain:
    return _explaining(_network(package, seed))


def _network(package: Package, seed: int):
    from vision.kinds import answering, learning
    from vision.models.config import ModelConfig
    from vision.models.network import IMAGENET_MEAN, IMAGENET_STD, ServedModel

    config = ModelConfig.model_validate(yaml.safe_load((package.folder / "config.yaml").read_text())["model"])
    network = learning(package.spec.kind).network(config, package.spec.labels, seed)
    return ServedModel(network, answering(package.spec.kind).outputs, IMAGENET_MEAN, IMAGENET_STD)


def _explaining(served) -> Explain:
    import torch

    from vision.export.explain import OUTPUTS, explain_model

    module = explain_model(served).eval()

    def run(images: np.ndarray) -> Mapping[str, np.ndarray]:
        with torch.inference_mode():
            return dict(zip(OUTPUTS, (found.numpy() for found in module(torch.from_numpy(images))), strict=True))

    return run


def _print(found: Mapping[str, Rate], chance: float, right: np.ndarray, by_class: Mapping[str, np.ndarray]) -> None:
    for name, one in found.items():
        print(f"{name:26} {one.value:.3f} ({one.low:.3f} to {one.high:.3f}), {one.count} leaves")
    print(f"{'a random point':26} {chance:.3f}")
    print("  ".join(f"{label} {hits.mean():.2f}" for label, hits in sorted(by_class.items())))
    print(f"answers right {right.mean():.3f}; goal: champion at least {GOAL}, untrained near chance")


if __name__ == "__main__":
    main()
