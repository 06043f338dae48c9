"""What our service is measured against, each serving the same package: `python -m benchmarks.serving_peers NAME …`.

plain: the service that the systems before us had. FastAPI, PIL and eager torch, one image at a time in the handler.
litserve: LitServe with our engine, decoding and preprocessing; its own batching.
"""

import argparse
import multiprocessing
import socket
import sys
from pathlib import Path

from vision.package import open_package


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=("plain", "litserve"))
    parser.add_argument("--package", required=True, type=Path)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--workers", type=int, required=True)
    asked = parser.parse_args()
    {"plain": serve_plain, "litserve": serve_lit}[asked.name](asked.package, asked.port, asked.workers)


def serve_plain(package: Path, port: int, workers: int) -> None:
    """One socket, as uvicorn's own workers share it."""
    import uvicorn

    listener = uvicorn.Config("", host="127.0.0.1", port=port).bind_socket()
    context = multiprocessing.get_context("fork")
    started = [context.Process(target=_plain_worker, args=(package, listener), daemon=True) for _ in range(workers)]
    for process in started:
        process.start()
    for process in started:
        process.join()


def _plain_worker(package: Path, listener: socket.socket) -> None:
    import uvicorn

    config = uvicorn.Config(plain_app(package), log_level="warning", access_log=False)
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


def serve_lit(package: Path, port: int, workers: int) -> None:
    import litserve

    from benchmarks.lit_peer import Api

    api = Api(max_batch_size=16, batch_timeout=0.005)
    api.folder = package
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=workers)
    server.run(host="127.0.0.1", port=port, num_api_servers=1, generate_client_file=False, log_level="warning")


if __name__ == "__main__":
    sys.exit(main())
