"""Mean and standard deviation of a data set's channels."""

from collections.abc import Sequence

import numpy as np

from vision.models.config import ModelConfig
from vision.models.network import IMAGENET_MEAN, IMAGENET_STD

CHUNK_IMAGES = 256
LEAST_STD = 1 / 255


def normalisation(
    config: ModelConfig, images: np.ndarray, indices: np.ndarray
) -> tuple[Sequence[float], Sequence[float]]:
    """(mean, std) of each channel in 0..1: ImageNet's, or with `normalise: dataset` those of the images given."""
    if config.normalise == "imagenet":
        return IMAGENET_MEAN, IMAGENET_STD
    return channel_statistics(images, indices)


def channel_statistics(images: np.ndarray, indices: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """images uint8 [N, R, R, 3], indices int [n], its rows that count -> mean and std of each channel in 0..1.

    Exact: counts of the 256 values are summed, a few hundred images at a time. A flat channel's std is at least 1/255.
    """
    counts = np.zeros((3, 256), dtype=np.int64)
    for start in range(0, len(indices), CHUNK_IMAGES):
        chunk = images[np.sort(indices[start : start + CHUNK_IMAGES])]
        counts += np.stack([np.bincount(chunk[..., channel].ravel(), minlength=256) for channel in range(3)])
    values = np.arange(256) / 255
    shares = counts / counts.sum(axis=1, keepdims=True)
    mean = shares @ values
    std = np.sqrt(np.maximum(shares @ values**2 - mean**2, LEAST_STD**2))
    return tuple(map(float, mean)), tuple(map(float, std))
