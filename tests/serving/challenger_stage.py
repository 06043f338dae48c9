"""A worker without a server that follows releases with a challenger, and what it writes down."""

import contextlib
import dataclasses
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from starlette.testclient import TestClient

from bentos.batching.lane import Lane, open_lane
from bentos.books import Books
from bentos.hooks import Asked, Client
from bentos.http.app import attach, create_app
from bentos.metrics.names import create
from bentos.predictor import Predictor
from bentos.releasing.source import open_served
from vision.export.assemble import assemble_package
from vision.export.golden import write_golden
from vision.export.onnx import export_onnx
from vision.failures import Failure, read_failures
from vision.package import InputSpec
from vision.records_read import lines, log_files
from vision.release import Release, ReleasedModel, read_release, sticky_below, sticky_number, write_release

SYSTEM, SALT = "quickstart", "pepper"
SCOPES = frozenset({"predict"})


class Stage:
    """One worker. `system`: its folder; `champion`, `challenger`: what `release` puts beside each other."""

    def __init__(self, state: Path, folder: Path, challenger: Callable[[Path], str]) -> None:
        """state: a state folder with a champion, copied to `folder`, unless that is there.

        challenger: makes a package in the system's folder and gives its hash.
        """
        if not folder.exists():
            shutil.copytree(state, folder)
        self.state, self.system = folder, folder / "systems" / SYSTEM
        self.champion = read_release(self.system / "release.json").champion
        self.challenger = released(4, challenger(self.system))
        self.registry, app = CollectorRegistry(), create_app()
        self.predictor = Predictor(open_lane(open_served(self.system / "release.json")))
        self.books = Books(self.predictor, folder, (self.system / "release.json",), create(self.registry))
        attach(app, self.predictor, self.books)
        self.client = TestClient(app, raise_server_exceptions=False)

    def release(self, mode: str = "single", share: float = 0.0, look: bool = True, **changes: Any) -> Release:
        """The next release: of these models, unless `changes` say otherwise, and taken up."""
        write_next(self.system, mode, share, **{"champion": self.champion, "challenger": self.challenger} | changes)
        if look:
            self.look()
        return read_release(self.system / "release.json")

    def look(self) -> bool:
        return self.client.portal.call(self.books.take_up.look)

    def predict(self, data: bytes, client: Client | None = None, **more: Any) -> dict[str, Any]:
        return self.client.portal.call(self.predictor.predict, data, Asked(client=client, **more))

    def lane(self) -> Lane:
        """The challenger's."""
        return self.predictor.router.lanes.challenger

    def settle(self) -> None:
        """Until the shadow is done with what it took up."""
        shadow = self.predictor._shadow
        deadline = time.monotonic() + 20
        while shadow._task is not None and not shadow._task.done():
            assert time.monotonic() < deadline
            time.sleep(0.005)

    def rested(self) -> None:
        self.predictor._shadow._rests_until_s = 0.0

    def health(self) -> dict[str, Any]:
        return self.client.get("/health").json()

    def records(self, route: str | None = None) -> list[dict[str, Any]]:
        return [row for row in records_of(self.system) if route in (None, row["route"])]

    def failures(self) -> list[Failure]:
        return read_failures(self.system / "failures")

    def value(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"visionops_{name}", labels) or 0.0

    def break_challenger(self, run) -> None:
        self.lane().batcher._line._run = run


@contextlib.contextmanager
def playing(state: Path, folder: Path, challenger: Callable[[Path], str]) -> Iterator[Stage]:
    stage = Stage(state, folder, challenger)
    with stage.client as client:
        yield stage
        client.portal.call(stage.predictor.close)
        client.portal.call(stage.books.close)


def write_next(system: Path, mode: str, share: float = 0.0, **models: Any) -> Release:
    """As `release_model` does."""
    path = system / "release.json"
    now = read_release(path)
    values = (
        now.model_dump() | {"no": now.no + 1, "mode": mode, "share": share, "salt": SALT, "reason": "test"} | models
    )
    made = Release.model_validate(values | ({"challenger": None} if mode == "single" else {}))
    write_release(path, made)
    return made


def released(version: int, package_sha: str) -> ReleasedModel:
    return ReleasedModel(version=version, package_sha=package_sha, uri=f"packages/{package_sha}")


def another(made, system: Path, note: str, **spec: Any) -> str:
    """A package that answers as the first does, under another hash. spec: what its spec says otherwise."""
    parts = dataclasses.replace(made.parts, metrics={"note": note}, spec=made.parts.spec.model_copy(update=spec))
    return assemble_package(system / "packages", parts)


def with_larger_input(made, system: Path, folder: Path, draw, side_px: int = 48) -> str:
    """The same network, looking at more pixels."""
    from tests.serving.conftest import torch_run

    folder.mkdir()
    spec = made.parts.spec.model_copy(update={"input": InputSpec(side_px=side_px, resize_px=side_px + 8)})
    export_onnx(made.model, side_px, spec.outputs, folder / "model.onnx")
    write_golden(folder, [draw(label, 90) for label in spec.labels], spec, torch_run(made.model))
    files = {**made.parts.files, "model.onnx": folder / "model.onnx"}
    parts = dataclasses.replace(made.parts, spec=spec, files=files, golden=folder / "golden")
    return assemble_package(system / "packages", parts)


def client(name: str) -> Client:
    return Client(name, f"hash of {name}", SCOPES)


def of_canary(share: float, wanted: bool = True) -> Client:
    """Some client that a canary of this share answers, or not."""
    keys = (f"key-{number}" for number in range(10_000))
    return next(client(key) for key in keys if (sticky_number(SALT, key) < sticky_below(share)) is wanted)


def records_of(system: Path) -> list[dict[str, Any]]:
    found = [row for file in log_files(system / "records") for row, _ in lines(file.growing.read_bytes()) if row]
    return sorted(found, key=lambda row: row["at"])
