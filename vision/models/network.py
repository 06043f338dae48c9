"""What is served: normalisation, network and embedding in one module. Prediction, export and the service's engines
all run it."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

EMBEDDING_SIZE = 32
PROJECTION_SEED = 20_260_101
"""Fixed: embeddings of one package must be comparable for ever."""
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Normalise(nn.Module):
    """images uint8 [N, H, W, 3] -> float [N, 3, H, W]: (x / 255 - mean) / std. mean, std: of each channel, in 0..1."""

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).reshape(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).reshape(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return self.planes(images.permute(0, 3, 1, 2).to(torch.float32))

    def planes(self, images: Tensor) -> Tensor:
        """images float [N, 3, H, W] in 0..255 -> normalised."""
        return (images - self.mean * 255) / (self.std * 255)


class ServedModel(nn.Module):
    """images uint8 [N, H, W, 3] -> one tensor for each name of `outputs`, in order; the last is the embedding [N, 32].

    network: normalised images float [N, 3, H, W] -> dict with `pooled` [N, D] and every output but the embedding.
    The embedding is `pooled` through a fixed Gaussian projection (Johnson and Lindenstrauss 1984), scaled to keep
    lengths.
    """

    def __init__(self, network: nn.Module, outputs: Sequence[str], mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.normalise = Normalise(mean, std)
        self.network = network
        self.outputs = tuple(outputs)
        generator = torch.Generator().manual_seed(PROJECTION_SEED)
        projection = torch.randn(network.pooled_channels, EMBEDDING_SIZE, generator=generator) / EMBEDDING_SIZE**0.5
        self.register_buffer("projection", projection)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        found = self.network(self.normalise(images))
        found["embedding"] = found["pooled"] @ self.projection
        return tuple(found[name] for name in self.outputs)


def save_model(model: ServedModel, path: Path) -> None:
    """Writes every parameter and buffer as safetensors (contiguous, on the CPU, float32 as trained)."""
    from safetensors.torch import save_file

    save_file({name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}, str(path))
    path.chmod(0o644)  # safetensors makes it readable for its owner alone; other users serve packages


def load_model(model: ServedModel, path: Path) -> ServedModel:
    """Reads what `save_model` wrote into `model`, normalisation and projection with it; eval mode.

    Raises `RuntimeError` naming the keys when the file is of another network.
    """
    from safetensors.torch import load_file

    model.load_state_dict(load_file(str(path)))
    return model.eval()
