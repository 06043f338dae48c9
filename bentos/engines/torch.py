"""torch, for GPUs: bfloat16, channels-last, and a CUDA graph for each batch size. The only module of the service with torch.

The bento's image has no torch: a server with a GPU installs it beside the bento. On a CPU this engine runs eagerly.
"""

from collections.abc import Mapping
from threading import Lock

import numpy as np
import torch
import yaml
from torch import Tensor, nn

from vision.errors import UserError
from vision.kinds import answering, learning
from vision.models.config import ModelConfig
from vision.models.network import IMAGENET_MEAN, IMAGENET_STD, ServedModel, load_model
from vision.package import Package

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
WARM_UP_RUNS = 3
"""Before a capture: cuDNN picks its kernels in the first runs, which a graph can't record."""


class TorchEngine:
    name = "torch"

    def __init__(
        self,
        package: Package,
        precision: str = "auto",
        max_batch: int = 16,
        threads: int = 0,
        device: str | None = None,
    ) -> None:
        """device: `cuda` where there is one, else `cpu`. `auto`: bfloat16 on a GPU that has it, else float32.

        threads: of torch in this process, on a CPU. Raises `UserError` for a device that is not there, and for int8.
        """
        if precision == "int8":
            raise UserError("serving.precision = int8 with the torch engine", "openvino or onnxruntime", "use openvino")
        self.device = _device(device)
        self.package = package
        self.precision = precision if precision != "auto" else _best_precision(self.device)
        if self.device.type == "cpu" and threads:
            torch.set_num_threads(threads)
        self._model = FastModel(_trained(package), DTYPES[self.precision]).to(self.device)
        self._lock = Lock()
        self._graphs: dict[int, Graph] = {}
        if self.device.type == "cuda":
            side_px = package.spec.input.side_px
            self._graphs = {size: Graph(self._model, size, side_px, self.device) for size in graph_sizes(max_batch)}

    def predict(self, images: np.ndarray) -> Mapping[str, np.ndarray]:
        """A batch between two captured sizes is padded to the next; one beyond the largest runs eagerly."""
        with self._lock, torch.inference_mode():
            found = self._run(torch.from_numpy(np.ascontiguousarray(images)))
            rows = [value[: len(images)].float().cpu().numpy() for value in found]
        return dict(zip(self.package.spec.outputs, rows, strict=True))

    def _run(self, images: Tensor) -> tuple[Tensor, ...]:
        size = next((size for size in self._graphs if size >= len(images)), None)
        return self._graphs[size].run(images) if size else self._model(images.to(self.device))


class FastModel(nn.Module):
    """`ServedModel` with convolutions, linear layers and group normalisation in `dtype`, channels last; normalisation of
    pixels, statistics of batch normalisation and the embedding stay float32.
    """

    def __init__(self, served: ServedModel, dtype: torch.dtype) -> None:
        super().__init__()
        self.served, self.dtype = served.to(memory_format=torch.channels_last), dtype
        for layer in served.network.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear | nn.GroupNorm):
                layer.to(dtype)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """images uint8 [N, S, S, 3] -> one tensor for each of the model's outputs."""
        pixels = self.served.normalise(images).to(self.dtype, memory_format=torch.channels_last)
        found = self.served.network(pixels)
        found["embedding"] = found["pooled"].float() @ self.served.projection
        return tuple(found[name] for name in self.served.outputs)


class Graph:
    """One captured forward pass of `size` images: a single launch instead of one for each kernel."""

    def __init__(self, model: FastModel, size: int, side_px: int, device: torch.device) -> None:
        self._images = torch.zeros((size, side_px, side_px, 3), dtype=torch.uint8, device=device)
        side = torch.cuda.Stream(device)
        side.wait_stream(torch.cuda.current_stream(device))
        with torch.inference_mode(), torch.cuda.stream(side):
            for _ in range(WARM_UP_RUNS):
                model(self._images)
        torch.cuda.current_stream(device).wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.inference_mode(), torch.cuda.graph(self._graph):
            self._outputs = model(self._images)

    def run(self, images: Tensor) -> tuple[Tensor, ...]:
        """images: at most `size`, on the host. The outputs live until the next run."""
        self._images[: len(images)].copy_(images)
        self._graph.replay()
        return self._outputs


def graph_sizes(max_batch: int) -> tuple[int, ...]:
    """Powers of two below `max_batch`, and `max_batch`."""
    sizes = [1]
    while 2 * sizes[-1] < max_batch:
        sizes.append(2 * sizes[-1])
    return tuple(dict.fromkeys((*sizes, max_batch)))


def _device(wanted: str | None) -> torch.device:
    if wanted == "cuda" and not torch.cuda.is_available():
        raise UserError("torch sees no GPU", "a machine with one and a CUDA build of torch", "use device cpu")
    return torch.device(wanted or ("cuda" if torch.cuda.is_available() else "cpu"))


def _best_precision(device: torch.device) -> str:
    return "bfloat16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "float32"


def _trained(package: Package) -> ServedModel:
    """The package's network with its weights; normalisation and projection come from the weight file as well."""
    spec = package.spec
    config = yaml.safe_load((package.folder / "config.yaml").read_text())
    model = ModelConfig.model_validate(config["model"])
    network = learning(spec.kind).network(model, spec.labels, 0, spec.input.side_px)
    served = ServedModel(network, answering(spec.kind).outputs, IMAGENET_MEAN, IMAGENET_STD)
    return load_model(served, package.folder / "model.safetensors")
