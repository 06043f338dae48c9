"""A detector whose answers are known exactly: it finds what is red (a scratch) and what is blue (a pit) on grey."""

import contextlib
import io
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from prometheus_client import CollectorRegistry
from safetensors.torch import save_file
from starlette.testclient import TestClient
from torch import Tensor, nn

from bentos.batching.lane import open_lane
from bentos.books import Books
from bentos.http.app import attach, create_app
from bentos.metrics.names import create
from bentos.predictor import Predictor
from bentos.releasing.source import open_served
from configs.load import load_system
from tests.serving.conftest import SYSTEM, InProcess
from vision.data.boxes.geometry import Box
from vision.export.assemble import PackageParts, assemble_package
from vision.export.golden import write_golden
from vision.export.onnx import export_onnx
from vision.export.runtime import onnx_run
from vision.kinds import answering
from vision.package import Card, InputSpec, Package, Spec, open_package
from vision.release import ReleasedModel, first_release, write_release

LABELS = ("pit", "scratch")
COLOURS = {"pit": (40, 60, 220), "scratch": (220, 50, 40)}
SIDE_PX = 128
INPUT = InputSpec(side_px=SIDE_PX, resize_px=SIDE_PX, crop="squash")
SURE = 0.9
TURNS = {1: None, 2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
         5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
         8: Image.Transpose.ROTATE_270}  # fmt: skip
"""By EXIF orientation: what a camera does to an upright picture before it writes it so."""


class ColourFinder(nn.Module):
    """uint8 [N, S, S, 3] -> scores [N, 2, 2], boxes [N, 2, 4] (shares of the sides), embedding [N, 32]: one candidate a label."""

    def __init__(self) -> None:
        super().__init__()
        self.sure = nn.Parameter(torch.tensor(SURE))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        red, green, blue = images.float().unbind(dim=-1)
        masks = torch.stack((blue - torch.maximum(red, green), red - torch.maximum(green, blue)), dim=1) > 90
        across, down = masks.any(dim=2).float(), masks.any(dim=3).float()
        start, end = zip(*(_ends(each) for each in (across, down)), strict=True)
        boxes = torch.stack((*start, *end), dim=-1) / SIDE_PX
        found = masks.flatten(2).any(dim=2).float() * self.sure
        scores = torch.diag_embed(found) + 0.02
        means = images.float().mean(dim=(1, 2)) / 255
        return scores, boxes, means.repeat(1, 11)[:, :32]


class RedHeat(nn.Module):
    """uint8 [N, S, S, 3] -> score [N, 1], heat [N, S / 8, S / 8] (3 where all is red), embedding [N, 32]."""

    def __init__(self) -> None:
        super().__init__()
        self.hot = nn.Parameter(torch.tensor(3.0))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        red, green, blue = images.float().unbind(dim=-1)
        found = (red - torch.maximum(green, blue) > 90).float() * self.hot
        heat = nn.functional.avg_pool2d(found[:, None], 8)[:, 0]
        means = images.float().mean(dim=(1, 2)) / 255
        return heat.amax(dim=(1, 2))[:, None] + 0.25, heat, means.repeat(1, 11)[:, :32]


def _ends(taken: Tensor) -> tuple[Tensor, Tensor]:
    """taken [N, 2, S] of 0 and 1 -> the first place that is 1 and the one past the last."""
    places = torch.arange(SIDE_PX, dtype=torch.float32)
    first = torch.where(taken > 0, places, float(SIDE_PX)).amin(dim=-1)
    last = torch.where(taken > 0, places + 1, 0.0).amax(dim=-1)
    return torch.minimum(first, last), last


def draw_boxes(
    boxes: list[Box], size_px: tuple[int, int] = (256, 192), orientation: int = 1, image_format: str = "PNG"
) -> bytes:
    """boxes: where they are on the upright picture of `size_px`; the file holds it as `orientation` says."""
    pixels = np.full((size_px[1], size_px[0], 3), 128, np.uint8)
    pixels += (np.arange(size_px[0]) % 7).astype(np.uint8)[None, :, None]
    for label, *corners in boxes:
        x1, y1, x2, y2 = map(int, corners)
        pixels[y1:y2, x1:x2] = COLOURS[label]
    picture, turn = Image.fromarray(pixels), TURNS[orientation]
    picture = picture if turn is None else picture.transpose(turn)
    exif, data = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    picture.save(data, image_format, exif=exif, **({"quality": 95} if image_format == "JPEG" else {}))
    return data.getvalue()


@cache
def box_package(base: Path) -> Package:
    """Once a session. base: the session's temporary folder. Its state folder is released, see `state_of`."""
    spec = _spec("detect", LABELS, INPUT)
    boxes = [Box("scratch", 64, 48, 128, 96)], [Box("pit", 20, 30, 90, 60)], []
    golden = [draw_boxes(each, orientation=6 if number == 0 else 1) for number, each in enumerate(boxes)]
    return _released(base / "boxes", ColourFinder(), spec, golden, {"scratch": Card(action="Polish it out.")})


@cache
def heat_package(base: Path) -> Package:
    """The same for a model that knows what is normal: no red."""
    spec = _spec("anomaly", ("normal", "defect"), InputSpec(side_px=SIDE_PX, resize_px=SIDE_PX))
    golden = [draw_boxes([]), draw_boxes([Box("scratch", 100, 60, 160, 120)])]
    return _released(base / "heat", RedHeat(), spec, golden, {})


def _spec(kind: str, labels: tuple[str, ...], seen: InputSpec) -> Spec:
    outputs = answering(kind).outputs
    return Spec(kind=kind, arch="ssdlite320_mobilenet_v3_large", labels=labels, input=seen, outputs=outputs)


def _released(folder: Path, network: nn.Module, spec: Spec, golden: list[bytes], cards: dict[str, Card]) -> Package:
    folder.mkdir()
    save_file(network.state_dict(), folder / "model.safetensors")
    export_onnx(network, SIDE_PX, spec.outputs, folder / "model.onnx")
    pd.DataFrame({"brightness": [0.4, 0.6]}).to_parquet(folder / "reference.parquet")
    write_golden(folder, golden, spec, onnx_run(folder / "model.onnx"))
    config = load_system(SYSTEM).model_dump(mode="json") | {"kind": spec.kind, "title": "Drawn surfaces"}
    parts = PackageParts(
        spec=spec, config=config, metrics={"map50": 1.0}, lineage={"data": "drawn"}, golden=folder / "golden", cards=cards,
        files={name: folder / name for name in ("model.safetensors", "model.onnx", "reference.parquet")},
    )  # fmt: skip
    packages = folder / "state" / "systems" / SYSTEM / "packages"
    package = open_package(packages / (sha := assemble_package(packages, parts)), sha)
    champion = ReleasedModel(version=1, package_sha=sha, uri=f"packages/{sha}")
    write_release(packages.parent / "release.json", first_release(champion, "first_model"))
    return package


def state_of(package: Package, target: Path) -> Path:
    """A state folder of its own whose champion is the package."""
    shutil.copytree(package.folder.parents[3], target)
    return target


@contextlib.contextmanager
def working(package: Package, folder: Path) -> Iterator[InProcess]:
    """A worker without a server over a state folder of its own."""
    state = state_of(package, folder)
    release, registry, app = state / "systems" / SYSTEM / "release.json", CollectorRegistry(), create_app()
    predictor = Predictor(open_lane(open_served(release)))
    books = Books(predictor, state, (release,), create(registry))
    attach(app, predictor, books)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield InProcess(client, predictor, books, state, registry)
        client.portal.call(predictor.close)
        client.portal.call(books.close)
