"""A model package to measure serving with: a network at 224 px, trained for a moment on drawn leaves."""

from pathlib import Path

import numpy as np
import pandas as pd

from configs.load import load_system
from vision.export.assemble import PackageParts, assemble_package
from vision.export.explain import explain_model
from vision.export.golden import write_golden
from vision.export.onnx import export_onnx
from vision.kinds import answering
from vision.package import InputSpec, Package, Spec, open_package
from vision.preprocess import decode, preprocess
from vision.release import ReleasedModel, first_release, read_release, write_release

INPUT = InputSpec(side_px=224, resize_px=256)
STEPS, BATCH = 30, 16
SEED = 5


def bench_state(arch: str, root: Path, images: list[bytes], labels: list[str]) -> Package:
    """A state folder `root/<arch>` whose champion of system quickstart is `arch`; made once, then found.

    Trained just long enough that its answers mean something: a runtime that computes in bfloat16 is held to golden
    images, and an untrained network's logits are noise.
    """
    system = root / arch / "systems" / "quickstart"
    release = read_release(system / "release.json")
    if release is not None:
        return open_package(system / release.champion.uri, release.champion.package_sha)
    parts = _parts(arch, root / arch / "parts", images, labels)
    package_sha = assemble_package(system / "packages", parts)
    champion = ReleasedModel(version=1, package_sha=package_sha, uri=f"packages/{package_sha}")
    write_release(system / "release.json", first_release(champion, "first_model"))
    return open_package(system / "packages" / package_sha, package_sha)


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
    write_golden(folder, images[:8], spec, _runner(model))
    files = ("model.safetensors", "model.onnx", "explain.onnx", "reference.parquet")
    config = load_system("quickstart", {"input": INPUT.model_dump(), "model.arch": arch})
    return PackageParts(
        spec=spec,
        config=config.model_dump(mode="json"),
        metrics={},
        lineage={"data": "benchmark"},
        files={name: folder / name for name in files},
        golden=folder / "golden",
    )


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


def _runner(model):
    import torch

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        with torch.no_grad():
            return {
                name: value.numpy() for name, value in zip(model.outputs, model(torch.from_numpy(images)), strict=True)
            }

    return run


def draw_images(count: int, side_px: int = 256) -> tuple[list[bytes], list[str]]:
    """`count` drawn leaves as JPEG files of `side_px`, and their labels."""
    from vision.data.synthetic import CLASSES, draw_leaf

    labels = [CLASSES[number % len(CLASSES)] for number in range(count)]
    drawn = [draw_leaf(label, number, side_px, "field")[0] for number, label in enumerate(labels)]
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
