"""Mosaic (Bochkovskiy et al. 2020): an image and three others of its batch on one canvas of twice the side.

The crop that follows shows parts of several images in surroundings that they were never seen in.
"""

import torch
from torch import Generator, Tensor

from vision.augment_moves import NOBODY, Moves

QUARTERS = ((1.0, 1.0), (-1.0, 1.0), (1.0, -1.0), (-1.0, -1.0))
"""(x, y) of the shift from a place on the canvas, doubled, to one in the image of the upper left quarter, the upper right ..."""


def mosaic(planes: Tensor, args: dict, generator: Generator) -> tuple[Tensor, Moves]:
    """planes [N, 3, R, R] -> canvases [N, 3, 2 R, 2 R]; with probability 1 - `p` (default 1) one of the image alone."""
    return _mosaic(planes, generator, **args)


def _mosaic(planes: Tensor, generator: Generator, p: float = 1.0) -> tuple[Tensor, Moves]:
    if not 0 <= p <= 1:
        raise ValueError(f"p {p} must lie within 0..1")
    count = len(planes)
    chosen = torch.rand(count, generator=generator) < p
    others = torch.randint(count, (3, count), generator=generator)
    sources = torch.cat((torch.arange(count)[None], others))
    top, bottom = (torch.cat([planes[sources[place]] for place in pair], dim=3) for pair in ((0, 1), (2, 3)))
    canvas = torch.cat((top, bottom), dim=2)
    alone = ~chosen
    canvas[alone.to(canvas.device)] = planes[alone].repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    return canvas, Moves(_shown(sources, chosen), _quarters(chosen))


def _shown(sources: Tensor, chosen: Tensor) -> Tensor:
    shown = sources.clone()
    shown[1:, ~chosen] = NOBODY
    return shown


def _quarters(chosen: Tensor) -> Tensor:
    """float [4, N, 3, 3]; of images that stay alone, the first is no move at all."""
    matrices = torch.zeros(len(QUARTERS), len(chosen), 3, 3)
    matrices[..., 0, 0] = matrices[..., 1, 1] = 2.0
    matrices[..., 2, 2] = 1.0
    for place, (right, down) in enumerate(QUARTERS):
        matrices[place, :, 0, 2], matrices[place, :, 1, 2] = right, down
    matrices[0, ~chosen] = torch.eye(3)
    return matrices
