"""A tiny real package: three colours told apart by a small network that is trained for a second."""

import io
import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

from configs.load import load_system
from vision.export.assemble import PackageParts, assemble_package
from vision.export.explain import explain_model
from vision.export.golden import write_golden
from vision.export.onnx import export_onnx
from vision.kinds import answering
from vision.models.network import ServedModel, save_model
from vision.package import Card, InputSpec, Package, Spec, open_package
from vision.preprocess import preprocess
from vision.release import ReleasedModel, first_release, write_release

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from starlette.testclient import TestClient

    from bentos.books import Books
    from bentos.predictor import Predictor

LABELS = ("amber", "moss", "slate")
COLOURS = {"amber": (200, 140, 40), "moss": (70, 130, 60), "slate": (80, 100, 140)}
INPUT = InputSpec(side_px=32, resize_px=40)
SYSTEM = "quickstart"


def draw(label: str, seed: int, image_format: str = "JPEG", size_px: tuple[int, int] = (72, 56)) -> bytes:
    """A noisy plain image of the label's colour, as file bytes."""
    noise = np.random.default_rng(seed).normal(0, 25, (size_px[1], size_px[0], 3))
    pixels = np.clip(np.array(COLOURS[label]) + noise, 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, image_format)
    return buffer.getvalue()


class TinyNetwork(nn.Module):
    """One convolution, global average pooling, linear head; the same parts by name as a real classifier."""

    pooled_channels = 8

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU())
        self.head = nn.Sequential(nn.Dropout(0.1), nn.Linear(8, len(LABELS)))

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        pooled = self.backbone(images).mean(dim=(2, 3))
        return {"logits": self.head(pooled), "pooled": pooled}


def train_tiny() -> ServedModel:
    torch.manual_seed(3)
    model = ServedModel(TinyNetwork(), answering("classify").outputs, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    images = np.stack([preprocess(draw(label, seed), INPUT) for label in LABELS for seed in range(20)])
    targets = torch.arange(len(LABELS)).repeat_interleave(20)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(torch.from_numpy(images))[0], targets).backward()
        optimizer.step()
    return model.eval()


def torch_run(model: ServedModel):
    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        with torch.no_grad():
            found = model(torch.from_numpy(images))
        return {name: value.numpy() for name, value in zip(model.outputs, found, strict=True)}

    return run


@dataclass(frozen=True)
class Made:
    """parts: what the package was assembled from, to assemble it again."""

    package: Package
    packages: Path
    parts: PackageParts
    model: ServedModel


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Made:
    return make_package(tmp_path_factory.getbasetemp())


@cache
def make_package(base: Path) -> Made:
    """Once a session, also for the tests of other folders. base: the session's temporary folder."""
    folder = base / "tiny"
    folder.mkdir()
    model = train_tiny()
    spec = Spec(kind="classify", arch="resnet18", labels=LABELS, input=INPUT, outputs=answering("classify").outputs)
    save_model(model, folder / "model.safetensors")
    export_onnx(model, INPUT.side_px, spec.outputs, folder / "model.onnx")
    export_onnx(explain_model(model), INPUT.side_px, ("logits", "heatmaps"), folder / "explain.onnx")
    pd.DataFrame({"brightness": [0.4, 0.6]}).to_parquet(folder / "reference.parquet")
    golden = [draw(label, seed, form) for label in LABELS for seed, form in ((90, "JPEG"), (91, "PNG"))]
    write_golden(folder, golden, spec, torch_run(model))
    config = load_system(SYSTEM, {"input": {"side_px": INPUT.side_px, "resize_px": INPUT.resize_px}})
    names = ("model.safetensors", "model.onnx", "explain.onnx", "reference.parquet")
    parts = PackageParts(
        spec=spec,
        config=config.model_dump(mode="json"),
        metrics={"accuracy": 1.0},
        lineage={"data": "drawn"},
        files={name: folder / name for name in names},
        golden=folder / "golden",
        cards={"moss": Card(crop="Tomato", action="Nothing to do.")},
    )
    packages = folder / "state" / "systems" / SYSTEM / "packages"
    package_sha = assemble_package(packages, parts)
    return Made(open_package(packages / package_sha, package_sha), packages, parts, model)


@pytest.fixture(scope="session")
def state(tmp_path_factory) -> Path:
    return released(tmp_path_factory.getbasetemp())


@cache
def released(base: Path) -> Path:
    """A state folder whose champion is the tiny package."""
    made = make_package(base)
    champion = ReleasedModel(
        version=3, package_sha=made.package.package_sha, uri=f"packages/{made.package.folder.name}"
    )
    write_release(made.packages.parent / "release.json", first_release(champion, "first_model"))
    return made.packages.parents[2]


@pytest.fixture(scope="session", name="draw")
def draw_fixture():
    return draw


@dataclass(frozen=True)
class InProcess:
    """A worker without a server: `client` asks it over ASGI; `state` is a state folder of its own."""

    client: "TestClient"
    predictor: "Predictor"
    books: "Books"
    state: Path
    registry: "CollectorRegistry"

    @property
    def system(self) -> Path:
        return self.state / "systems" / SYSTEM

    def value(self, name: str, **labels: str) -> float:
        """Of one sample of the metrics; 0 where it was never counted."""
        return self.registry.get_sample_value(f"visionops_{name}", labels) or 0.0


@pytest.fixture(scope="module")
def worker(state: Path, tmp_path_factory):
    """Serves a copy of `state`, so that what is recorded and released in one module is not seen in another."""
    from prometheus_client import CollectorRegistry
    from starlette.testclient import TestClient

    from bentos.batching.lane import open_lane
    from bentos.books import Books
    from bentos.http.app import attach, create_app
    from bentos.metrics.names import create
    from bentos.predictor import Predictor
    from bentos.releasing.source import open_served

    own = tmp_path_factory.mktemp("worker") / "state"
    shutil.copytree(state, own)
    release, registry, app = own / "systems" / SYSTEM / "release.json", CollectorRegistry(), create_app()
    predictor = Predictor(open_lane(open_served(release)))
    books = Books(predictor, own, (release,), create(registry))
    attach(app, predictor, books)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield InProcess(client, predictor, books, own, registry)
        client.portal.call(predictor.close)
        client.portal.call(books.close)


@dataclass(frozen=True)
class Live:
    """A real server of two workers over a state folder of its own. It polls its release ten times a second."""

    url: str
    pid: int
    log: Path
    state: Path

    @property
    def system(self) -> Path:
        return self.state / "systems" / SYSTEM


@pytest.fixture(scope="session")
def live(state: Path, tmp_path_factory):
    """Shared by all modules that need nothing but a server; who changes its release changes it back."""
    from tasks.packaging.smoke import serving

    folder = tmp_path_factory.mktemp("live")
    shutil.copytree(state, folder / "state")
    env = {
        "VISIONOPS_STATE": str(folder / "state"),
        "VISIONOPS_SYSTEM": SYSTEM,
        "VISIONOPS__SERVING__WORKERS": "2",
        "VISIONOPS__SERVING__RELEASE_POLL_S": "0.1",
        "VISIONOPS__SERVING__ACCESS__REQUESTS_PER_MINUTE": "1000000",
        "BENTOML_HOME": str(folder / "bentoml"),
    }
    with serving(".", Path(__file__).parents[2], folder / "serve.log", env) as server:
        yield Live(server.url, server.pid, server.log, folder / "state")
