"""A model package to measure serving with: a network at 224 px, trained for a moment on drawn leaves, with the INT8
graph where that passes the same gate as a system's own."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from configs.load import load_system
from configs.paths import StatePaths
from vision.export.assemble import PackageParts, assemble_package
from vision.export.config import ExportConfig
from vision.export.explain import explain_model
from vision.export.golden import write_golden
from vision.export.onnx import export_onnx
from vision.kinds import answering
from vision.package import INT8_MODEL, InputSpec, Int8, Package, Spec, open_package
from vision.preprocess import decode, preprocess
from vision.release import ReleasedModel, first_release, read_release, write_release

INPUT = InputSpec(side_px=224, resize_px=256)
STEPS, BATCH = 240, 16
SEED = 5
HELD_BACK, HELD_BACK_FROM = 1200, 10_000
"""Images that the INT8 graph is judged on, and the first one's seed: none of them was trained on. So many that one image is
less than what a class may lose, and that the gate can prove it: it asks for 299 of each class without a loss."""

LINEAGE = {"data": "benchmark", "held_back": HELD_BACK, "decoder": INPUT.decoder}


def bench_state(arch: str, root: Path, images: list[bytes], labels: list[str]) -> Package:
    """A state folder `root/<arch>` whose champion of system quickstart is `arch`; made once, then found.

    Trained just long enough that its answers mean something: a runtime that computes in bfloat16 is held to golden
    images, and an untrained network's logits are noise.
    """
    system = root / arch / "systems" / "quickstart"
    release = read_release(system / "release.json")
    if release is not None:
        found = open_package(system / release.champion.uri, release.champion.package_sha)
        # Of an earlier version of this file, its INT8 graph was judged on other images, or on none.
        if json.loads((found.folder / "lineage.json").read_text()) == LINEAGE:
            return found
    parts = _parts(arch, root / arch / "parts", images, labels)
    package_sha = assemble_package(system / "packages", parts)
    release_package(system / "release.json", package_sha, f"packages/{package_sha}")
    return open_package(system / "packages" / package_sha, package_sha)


def state_of(package: Package, state: Path) -> Path:
    """A state folder that releases a package which lies elsewhere."""
    release_package(StatePaths(state).release("quickstart"), package.package_sha, str(package.folder.absolute()))
    return state


def release_package(path: Path, package_sha: str, uri: str) -> None:
    """In place of what an earlier benchmark released there."""
    path.unlink(missing_ok=True)
    champion = ReleasedModel(version=1, package_sha=package_sha, uri=uri)
    write_release(path, first_release(champion, "first_model"))


def _parts(arch: str, folder: Path, images: list[bytes], labels: list[str]) -> PackageParts:
    from vision.models.network import save_model

    folder.mkdir(parents=True, exist_ok=True)
    names = tuple(sorted(set(labels)))
    model = _train(arch, images, labels, names)
    spec = Spec(kind="classify", arch=arch, labels=names, input=INPUT, outputs=answering("classify").outputs)
    save_model(model, folder / "model.safetensors")
    export_onnx(model, INPUT.side_px, spec.outputs, folder / "model.onnx")
    export_onnx(explain_model(model), INPUT.side_px, ("logits", "heatmaps"), folder / "explain.onnx")
    pd.DataFrame({"brightness": [0.4, 0.6]}).to_parquet(folder / "reference.parquet")
    write_golden(folder, images[:8], spec, runner(model))
    config = load_system("quickstart", {"input": INPUT.model_dump(), "model.arch": arch})
    int8 = _quantised(folder, images, spec, config.export)
    files = [
        "model.safetensors",
        "model.onnx",
        "explain.onnx",
        "reference.parquet",
        *([INT8_MODEL] if int8.passed else ()),
    ]
    return PackageParts(
        spec=spec.model_copy(update={"int8": int8}),
        config=config.model_dump(mode="json"),
        metrics={},
        lineage=LINEAGE,
        files={name: folder / name for name in files},
        golden=folder / "golden",
    )


def _quantised(folder: Path, images: list[bytes], spec: Spec, config: ExportConfig) -> Int8:
    """Makes `folder/model.int8.onnx` and says whether it may be used, as `tasks.packaging.export_int8` does for a system."""
    from vision.export.int8 import quantise
    from vision.export.int8_gate import HeldBack, judge_int8
    from vision.export.runtime import onnx_run

    chosen = [preprocess(data, INPUT) for data in images[: config.calibration_images]]
    quantise(folder / "model.onnx", np.stack(chosen), folder / INT8_MODEL, answering(spec.kind).quantised)
    held, labels = draw_images(HELD_BACK, first=HELD_BACK_FROM)
    names = [str(HELD_BACK_FROM + number) for number in range(HELD_BACK)]
    rows = pd.DataFrame({"path": names, "sha256": names, "label": labels, "family": names})
    pixels = np.stack([preprocess(data, INPUT) for data in held])
    runs = (onnx_run(folder / "model.onnx"), onnx_run(folder / INT8_MODEL))
    judged = judge_int8(*runs, HeldBack([pixels], rows), spec, config)
    print(
        f"{spec.arch} in INT8 {'passed' if judged['passed'] else 'failed'}: {'; '.join(judged['reasons'])}", flush=True
    )
    return Int8(passed=judged["passed"], drop=judged["drop"])


def _train(arch: str, images: list[bytes], labels: list[str], names: tuple[str, ...]):
    import torch

    from vision.kinds.classify_learning import ClassifyLearning
    from vision.models.config import ModelConfig
    from vision.models.network import IMAGENET_MEAN, IMAGENET_STD, ServedModel

    torch.manual_seed(SEED)
    network = ClassifyLearning().network(ModelConfig(arch=arch, weights="random"), names, SEED)
    model = ServedModel(network, answering("classify").outputs, IMAGENET_MEAN, IMAGENET_STD)
    pixels = np.stack([preprocess(data, INPUT) for data in images])
    targets = torch.tensor([names.index(label) for label in labels])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    rng = np.random.default_rng(SEED)
    for _ in range(STEPS):
        chosen = rng.choice(len(pixels), BATCH, replace=False)
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(torch.from_numpy(pixels[chosen]))[0]
        torch.nn.functional.cross_entropy(logits.float(), targets[chosen]).backward()
        optimizer.step()
    return model.eval()


def runner(model):
    import torch

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        with torch.no_grad():
            return {
                name: value.numpy() for name, value in zip(model.outputs, model(torch.from_numpy(images)), strict=True)
            }

    return run


def draw_images(count: int, side_px: int = 256, first: int = 0) -> tuple[list[bytes], list[str]]:
    """`count` drawn leaves as JPEG files of `side_px`, and their labels. first: the first one's seed."""
    from vision.data.synthetic.leaves import CLASSES, draw_leaf

    labels = [CLASSES[number % len(CLASSES)] for number in range(count)]
    drawn = [draw_leaf(label, first + number, side_px, "field")[0] for number, label in enumerate(labels)]
    return [_jpeg(pixels) for pixels in drawn], labels


def photos(images: list[bytes]) -> list[bytes]:
    """The same as photographs of 1920 x 1080, mosaics of the images, so that there is detail to decode."""
    tiles = [np.asarray(decode(data)) for data in images]
    made = []
    for number in range(len(tiles)):
        row = np.concatenate([tiles[(number + step) % len(tiles)] for step in range(8)], axis=1)
        made.append(_jpeg(np.concatenate([np.roll(row, 256 * step, axis=1) for step in range(5)])[:1080, :1920]))
    return made


def _jpeg(pixels: np.ndarray) -> bytes:
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
