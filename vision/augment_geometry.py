"""Geometric augmentation: each step is an affine map of each image; steps in a row are composed and resampled once."""

import math
from collections.abc import Sequence

import torch
from torch import Generator, Tensor
from torch.nn import functional

from vision.training.config import AugmentStep

CROPS = ("random_resized_crop", "random_crop")
GEOMETRY = (*CROPS, "horizontal_flip", "vertical_flip", "rotation")
CROP_TRIES = 10


def resample(planes: Tensor, steps: Sequence[AugmentStep], side_px: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """planes float [N, 3, H, H] -> [N, 3, S, S], S being `side_px` when a crop is among `steps`, else H; and the maps
    [N, 3, 3] from places in them to places in `planes`.

    Coordinates run from -1 to 1 over each step's own frame. Walking from the result back to the source, `matrix` maps
    result coordinates into the frame at hand, and `inside` drops what lies outside of a frame that a step looks beyond.
    """
    count, source_px = len(planes), planes.shape[-1]
    out_px = side_px if any(step.name in CROPS for step in steps) else source_px
    drawn = [_MAPS[step.name](count, source_px, side_px, generator, **step.args) for step in steps]
    grid = _grid(out_px).to(planes.device)
    matrix = torch.eye(3).expand(count, 3, 3)
    inside = None
    for step, step_matrix in reversed(list(zip(steps, drawn, strict=True))):
        matrix = step_matrix @ matrix
        if step.name == "rotation" or step.args.get("padding"):
            frame = _places(grid, matrix.to(planes.device)).abs().amax(dim=-1) <= 1
            inside = frame if inside is None else inside & frame
    sampled = functional.grid_sample(
        _shrink(planes, out_px, matrix),
        _places(grid, matrix.to(planes.device)),
        mode="bilinear",
        padding_mode="border",
        align_corners=False,
    )
    return (sampled if inside is None else sampled * inside.unsqueeze(1)), matrix


def _grid(side_px: int) -> Tensor:
    """Pixel centres [S, S, 2] as (x, y) in -1..1."""
    line = (torch.arange(side_px) + 0.5) * (2 / side_px) - 1
    return torch.stack(torch.meshgrid(line, line, indexing="xy"), dim=-1)


def _places(grid: Tensor, matrix: Tensor) -> Tensor:
    """grid [S, S, 2] through matrix [N, 3, 3] -> [N, S, S, 2]."""
    flat = grid.reshape(1, -1, 2) @ matrix[:, :2, :2].transpose(1, 2) + matrix[:, None, :2, 2]
    return flat.reshape(len(matrix), *grid.shape)


def _shrink(planes: Tensor, out_px: int, matrix: Tensor) -> Tensor:
    """Averages blocks first when every image is shrunk to half or less: a bilinear sample alone would alias."""
    least_scale = float(torch.linalg.det(matrix).abs().min().sqrt())
    factor = int(planes.shape[-1] * least_scale / out_px + 1e-4)
    return functional.avg_pool2d(planes, factor) if factor >= 2 else planes


def _uniform(count: int, low: float, high: float, generator: Generator) -> Tensor:
    return torch.rand(count, generator=generator) * (high - low) + low


def _affine(scale_x: Tensor, scale_y: Tensor, shift_x: Tensor, shift_y: Tensor) -> Tensor:
    matrix = torch.zeros(len(scale_x), 3, 3)
    matrix[:, 0, 0], matrix[:, 1, 1], matrix[:, 2, 2] = scale_x, scale_y, 1.0
    matrix[:, 0, 2], matrix[:, 1, 2] = shift_x, shift_y
    return matrix


def _random_resized_crop(
    count: int,
    source_px: int,
    side_px: int,
    generator: Generator,
    scale: Sequence[float] = (0.08, 1.0),
    ratio: Sequence[float] = (3 / 4, 4 / 3),
) -> Tensor:
    """A box of a random share `scale` of the area and a log-uniform `ratio` (Szegedy et al. 2015); the whole after 10
    misfits."""
    _check_range("scale", scale, 0, 1)
    _check_range("ratio", ratio, 0, math.inf)
    tries = (count * CROP_TRIES,)
    area = _uniform(*tries, *scale, generator).reshape(count, -1)
    aspect = _uniform(*tries, math.log(ratio[0]), math.log(ratio[1]), generator).exp().reshape(count, -1)
    width, height = (area * aspect).sqrt(), (area / aspect).sqrt()
    fits = (width <= 1) & (height <= 1)
    first = fits.int().argmax(dim=1, keepdim=True)
    found = fits.any(dim=1)
    width = torch.where(found, width.gather(1, first)[:, 0], 1.0)
    height = torch.where(found, height.gather(1, first)[:, 0], 1.0)
    shift_x = (2 * torch.rand(count, generator=generator) - 1) * (1 - width)
    shift_y = (2 * torch.rand(count, generator=generator) - 1) * (1 - height)
    return _affine(width, height, shift_x, shift_y)


def _random_crop(count: int, source_px: int, side_px: int, generator: Generator, padding: float = 0) -> Tensor:
    """A side_px square at a whole-pixel place of the image padded with black by `padding` pixels."""
    room = source_px + 2 * int(padding) - side_px
    if room < 0 or padding < 0:
        raise ValueError(f"a crop of {side_px} px does not fit into {source_px} px padded by {padding}")
    corner = torch.randint(room + 1, (count, 2), generator=generator) - int(padding)
    shift = (2 * corner + side_px) / source_px - 1
    scale = torch.full((count,), side_px / source_px)
    return _affine(scale, scale, shift[:, 0], shift[:, 1])


def _flip(axis: int, count: int, generator: Generator, p: float) -> Tensor:
    _check_range("p", (p,), 0, 1)
    signs = torch.ones(2, count)
    signs[axis] = torch.where(torch.rand(count, generator=generator) < p, -1.0, 1.0)
    return _affine(*signs, torch.zeros(count), torch.zeros(count))


def _horizontal_flip(count: int, source_px: int, side_px: int, generator: Generator, p: float = 0.5) -> Tensor:
    return _flip(0, count, generator, p)


def _vertical_flip(count: int, source_px: int, side_px: int, generator: Generator, p: float = 0.5) -> Tensor:
    return _flip(1, count, generator, p)


def _rotation(
    count: int, source_px: int, side_px: int, generator: Generator, degrees: float | Sequence[float] = 20
) -> Tensor:
    """`degrees`: one number for -degrees..degrees, or (low, high), counter-clockwise about the centre."""
    low, high = (-degrees, degrees) if isinstance(degrees, int | float) else degrees
    angle = torch.deg2rad(_uniform(count, low, high, generator))
    matrix = _affine(angle.cos(), angle.cos(), torch.zeros(count), torch.zeros(count))
    matrix[:, 0, 1], matrix[:, 1, 0] = -angle.sin(), angle.sin()
    return matrix


def _check_range(name: str, values: Sequence[float], low: float, high: float) -> None:
    if list(values) != sorted(values) or not all(low <= value <= high for value in values):
        raise ValueError(f"{name} {tuple(values)} must rise within {low}..{high}")


_MAPS = {
    "random_resized_crop": _random_resized_crop,
    "random_crop": _random_crop,
    "horizontal_flip": _horizontal_flip,
    "vertical_flip": _vertical_flip,
    "rotation": _rotation,
}
