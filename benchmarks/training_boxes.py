"""Training a detector, ours beside torchvision's own loop, as ratios: interleaved rounds, medians. The last line is JSON.

Both train SSDLite320-MobileNetV3-Large at 320 px in float32 from random weights, on the same drawn surfaces with the same flips and
batches. Ours runs on Ray and reads its image cache; theirs decodes each JPEG each epoch, in two loader workers.

ray_vs_boxes       images/s, ours / theirs, after the first epoch
cpu_boxes_vs_ray   CPU-seconds an image, theirs / ours
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path

from benchmarks.plain_boxes import AnnotatedFiles, boxes_loop
from benchmarks.training import EPOCHS, lay_out, ratios, ray_path, show
from configs.load import load_system
from tasks.environment import prepare
from vision.data.boxes.annotations import annotated_labels, read_annotations
from vision.data.cache import ImageCache

STAGE = {"name": "bench", "epochs": EPOCHS, "trainable": "all", "lr": 1e-3}
CHANGES = {
    "data.split": {"train": 0.9, "val": 0.05, "test": 0.05},
    "input": {"side_px": 320, "resize_px": 320, "crop": "squash"},
    # As torchvision builds it.
    "model": {"arch": "ssdlite320_mobilenet_v3_large", "weights": "random", "anchor_scales": [0.2, 0.95]},
    "training.stages": [STAGE],
    "training.stages_from_scratch": [STAGE],
    "training.workers": 1,
    "training.precision": "float32",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=60, help="drawn images of a class")
    asked = parser.parse_args()
    prepare()
    with tempfile.TemporaryDirectory(prefix="visionops-bench-") as folder:
        print(json.dumps(measured(Path(folder), asked.images, asked.rounds)))


def measured(work: Path, images: int, rounds: int) -> dict[str, float]:
    config = load_system("quickstart_defects", CHANGES | {"data.source.images_per_class": images})
    lay_out(work, config)
    labels, cache = annotated_labels(work / "data"), ImageCache.open(work / "cache")
    train = set(cache.rows.iloc[cache.indices("train")]["path"])
    files = AnnotatedFiles(work / "data", [one for one in read_annotations(work / "data") if one.path in train], labels)
    found, startups = {"ray": [], "boxes": []}, []
    for number in range(rounds):
        speed, startup, _ = ray_path(work / f"round{number}", work / "cache", config, labels)
        startups.append(startup)
        found["ray"].append(speed)
        found["boxes"].append(boxes_loop(files, config.training, EPOCHS))
        print(f"round {number + 1}: " + show({name: speeds[-1] for name, speeds in found.items()}), flush=True)
    return ratios(found, ("boxes",)) | {"ray_startup_s": round(statistics.median(startups), 1)}


if __name__ == "__main__":
    main()
