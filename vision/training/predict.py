"""What a trained model says about cached images: float32, eval mode, the crops that the service will see."""

from collections.abc import Callable

import numpy as np
import torch

from vision.models.network import ServedModel
from vision.package import Spec
from vision.preprocess import centre_crop


def predict(
    model: ServedModel,
    images: np.ndarray,
    indices: np.ndarray,
    spec: Spec,
    batch_size: int = 64,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, np.ndarray]:
    """images uint8 [N, R, R, 3] (the cache), indices int [n] -> outputs by name, float32 [n, ...], in the order of
    indices.

    on_progress(images done, n) is called after each batch. The model's mode is left as it was found.
    """
    was_training, device = model.training, model.projection.device
    found: dict[str, list[np.ndarray]] = {name: [] for name in model.outputs}
    model.eval()
    try:
        for start in range(0, len(indices), batch_size):
            crops = centre_crop(images[indices[start : start + batch_size]], spec.input)
            with torch.inference_mode():
                outputs = model(torch.from_numpy(np.ascontiguousarray(crops)).to(device))
            for name, value in zip(model.outputs, outputs, strict=True):
                found[name].append(value.float().cpu().numpy())
            if on_progress is not None:
                on_progress(min(start + batch_size, len(indices)), len(indices))
    finally:
        model.train(was_training)
    return {name: np.concatenate(parts) for name, parts in found.items()}
