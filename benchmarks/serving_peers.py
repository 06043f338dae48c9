"""What our service is measured against, each serving the same package: `python -m benchmarks.serving_peers NAME …`.

plain: the service that the systems before us had. FastAPI, PIL and eager torch, one image at a time in the handler.
plain_boxes: the same around torchvision's own detector, which resizes, suppresses and scales boxes back itself.
litserve: LitServe with our engine, decoding and preprocessing; its own batching.
"""

import argparse
import multiprocessing
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vision.package import open_package

BACKGROUND = 6.0
"""Logits by which an untrained detector sees nothing rather than something."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=("plain", "plain_boxes", "litserve"))
    parser.add_argument("--package", required=True, type=Path)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--workers", type=int, required=True)
    asked = parser.parse_args()
    if asked.name == "litserve":
        serve_lit(asked.package, asked.port, asked.workers)
    else:
        serve_plain(APPS[asked.name], asked.package, asked.port, asked.workers)


def serve_plain(app: Callable[[Path], Any], package: Path, port: int, workers: int) -> None:
    """One socket, as uvicorn's own workers share it. app: makes one of a package's folder."""
    import uvicorn

    listener = uvicorn.Config("", host="127.0.0.1", port=port).bind_socket()
    context = multiprocessing.get_context("fork")
    started = [
        context.Process(target=_plain_worker, args=(app, package, listener), daemon=True) for _ in range(workers)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join()


def _plain_worker(app: Callable[[Path], Any], package: Path, listener: socket.socket) -> None:
    import uvicorn

    config = uvicorn.Config(app(package), log_level="warning", access_log=False)
    uvicorn.Server(config).run(sockets=[listener])


def plain_app(folder: Path):
    """As such services are usually written; with one thread of torch a worker, which is its best on these cores."""
    import io

    import torch
    from fastapi import FastAPI, File, UploadFile
    from PIL import Image
    from torchvision import transforms

    torch.set_num_threads(1)
    package = open_package(folder)
    spec, model = package.spec, _eager(package)
    prepare = transforms.Compose(
        [transforms.Resize(spec.input.resize_px), transforms.CenterCrop(spec.input.side_px), transforms.PILToTensor()]
    )
    app = FastAPI()

    @app.post("/predict")
    async def predict(file: UploadFile = File(...)):  # noqa: B008
        image = Image.open(io.BytesIO(await file.read())).convert("RGB")
        with torch.no_grad():
            logits = model(prepare(image).permute(1, 2, 0)[None])[0]
        shares = torch.softmax(logits, 1)[0]
        best = int(shares.argmax())
        return {"label": spec.labels[best], "confidence": float(shares[best])}

    return app


def _eager(package):
    from vision.kinds.classify_learning import ClassifyLearning
    from vision.models.config import ModelConfig
    from vision.models.network import IMAGENET_MEAN, IMAGENET_STD, ServedModel, load_model

    network = ClassifyLearning().network(ModelConfig(arch=package.spec.arch, weights="random"), package.spec.labels, 0)
    model = ServedModel(network, package.spec.outputs, IMAGENET_MEAN, IMAGENET_STD)
    return load_model(model, package.folder / "model.safetensors")


def boxes_app(folder: Path):
    """torchvision's documentation in a handler: PIL, `model([image])`, boxes in pixels of the image. Random weights."""
    import io

    import torch
    from fastapi import FastAPI, File, UploadFile
    from PIL import Image, ImageOps
    from torchvision.models import detection
    from torchvision.transforms.functional import to_tensor

    torch.set_num_threads(1)
    spec = open_package(folder).spec
    make = getattr(detection, spec.arch)
    model = make(
        weights=None, weights_backbone=None, num_classes=len(spec.labels) + 1, score_thresh=spec.threshold
    ).eval()
    favour_background(model.head.classification_head, len(spec.labels) + 1)
    app = FastAPI()

    @app.post("/predict")
    async def predict(file: UploadFile = File(...)):  # noqa: B008
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(await file.read()))).convert("RGB")
        with torch.no_grad():
            found = model([to_tensor(image)])[0]
        rows = zip(found["labels"].tolist(), found["scores"].tolist(), found["boxes"].tolist(), strict=True)
        return {"boxes": [{"label": spec.labels[one - 1], "confidence": score, "box": box} for one, score, box in rows]}

    return app


def favour_background(head, classes: int) -> None:
    """As a trained detector is: nearly every place shows nothing. head: an SSDLite classification head, random weights."""
    import torch

    with torch.no_grad():
        for level in head.module_list:
            level[-1].bias.view(-1, classes)[:, 0] += BACKGROUND


APPS = {"plain": plain_app, "plain_boxes": boxes_app}


def serve_lit(package: Path, port: int, workers: int) -> None:
    import litserve

    from benchmarks.lit_peer import Api

    api = Api(max_batch_size=16, batch_timeout=0.005)
    api.folder = package
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=workers)
    server.run(host="127.0.0.1", port=port, num_api_servers=1, generate_client_file=False, log_level="warning")


if __name__ == "__main__":
    sys.exit(main())
