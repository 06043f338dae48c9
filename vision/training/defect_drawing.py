"""Defects drawn on a batch of images: blobs and lines of smooth noise, filled with what does not belong there.

After DRAEM (Zavrtanik et al. 2021, arXiv:2108.07610: shapes from smooth noise) and CutPaste (Li et al. 2021,
arXiv:2104.04015: fillings from the images themselves). Nothing is known of the product or of its real defects. Random numbers
are torch's own, drawn on the CPU. Coordinates run from -1 to 1 over an image, and over a defect's own window.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

MOST = 3
CLEAN_SHARE = 0.25
"""Of the images, on which nothing is drawn; the others have 1 to `MOST` defects."""
WINDOW = (0.04, 0.6)
"""Sides of a defect's window, as shares of the image's."""
NOISE_SIDE = 4
"""Random numbers along a window's side, between which the shape is smooth."""
LINE_SHARE = 0.35
LINE_PX = (1.0, 3.0)
"""Half the width of a line."""
OPACITY = (0.5, 1.0)
DARK, LIGHT, DARK_SHARE = (0.3, 0.85), (1.2, 1.8), 0.65
GRAIN = 0.15
"""Most noise in a flat filling, in units of the normalised image."""
SEEN, SEEN_PX = 0.15, 5
"""A change of this much (normalised units, mean over the channels) in that many pixels can be seen; less is no defect."""
INSIDE = 0.3
"""Of a shape's soft edge, from where on a pixel counts as the defect's."""


def draw_defects(images: Tensor) -> tuple[Tensor, Tensor]:
    """images float [N, C, S, S], normalised -> the same with defects, and where: bool [N, S, S]."""
    count = len(images)
    defects = torch.randint(1, MOST + 1, (count,)) * (torch.rand(count) >= CLEAN_SHARE)
    drawn, where = images.clone(), torch.zeros_like(images[:, 0], dtype=torch.bool)
    for number in range(MOST):
        rows = (defects > number).nonzero()[:, 0].to(images.device)
        if len(rows):
            drawn[rows], seen = _one_each(drawn[rows], images)
            where[rows] |= seen
    return drawn, where


def _one_each(images: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    shape = _shapes(len(images), images.shape[-1]).to(images)[:, None]
    filling = _fillings(images, others, shape)
    share = shape * _uniform(*OPACITY, len(images)).to(images)
    drawn = images + share * (filling - images)
    seen = (shape > INSIDE) & ((drawn - images).abs().mean(dim=1, keepdim=True) > SEEN)
    enough = seen.sum(dim=(1, 2, 3), keepdim=True) >= SEEN_PX
    return drawn, ((shape > INSIDE) & enough)[:, 0]


def _shapes(count: int, side_px: int) -> Tensor:
    """float [count, S, S] in 0..1: a blob or a line each, soft at its edge."""
    places = _window_places(count, side_px)
    noise = torch.randn(count, 1, NOISE_SIDE, NOISE_SIDE)
    level = functional.grid_sample(noise, places, mode="bicubic", padding_mode="border", align_corners=True)[:, 0]
    inside = places.abs().amax(dim=-1) <= 1
    line = _uniform(*LINE_PX, count)[:, 0] - _px_from_zero(level).abs()
    bulge = 2 * (1 - places.square().sum(dim=-1)) + 0.8 * level - 0.6
    blob = _px_from_zero(bulge) / _uniform(1.0, 6.0, count)[:, 0] + 0.5
    is_line = (torch.rand(count, 1, 1) < LINE_SHARE).expand_as(line)
    return torch.where(is_line, line * inside, blob).clamp(0, 1)


def _window_places(count: int, side_px: int) -> Tensor:
    """[count, S, S, 2]: where each pixel of the image lies in the defect's window, which is turned and anywhere."""
    low, high = (math.log(share) for share in WINDOW)
    sides = torch.exp(torch.rand(count, 2) * (high - low) + low)
    angle, centre = torch.rand(count) * (2 * math.pi), torch.rand(count, 2) * 2 - 1
    turn = torch.stack((angle.cos(), angle.sin(), -angle.sin(), angle.cos()), dim=1).view(count, 2, 2)
    into = turn / sides[:, :, None]
    matrix = torch.cat((into, -into @ centre[:, :, None]), dim=2)
    return functional.affine_grid(matrix, [count, 1, side_px, side_px], align_corners=False)


def _px_from_zero(level: Tensor) -> Tensor:
    """level [N, S, S] -> how many pixels each place is from where it is zero, to first order; with its sign."""
    down, right = torch.gradient(level, dim=(1, 2))
    return level / (down.square() + right.square()).sqrt().clamp_min(1e-4)


def _fillings(images: Tensor, others: Tensor, shape: Tensor) -> Tensor:
    """[N, C, S, S]: a third each another image's piece, the place itself in another light, and one flat tone."""
    count = len(images)
    which = torch.randint(3, (count, 1, 1, 1)).to(images.device)
    area = shape.sum(dim=(2, 3), keepdim=True) + 1e-6
    tone = (images * shape).sum(dim=(2, 3), keepdim=True) / area
    factor = torch.where(torch.rand(count, 1, 1, 1) < DARK_SHARE, _uniform(*DARK, count), _uniform(*LIGHT, count)).to(
        images
    )
    black = images.amin(dim=(2, 3), keepdim=True)
    piece = _pieces(others, count)
    moved = tone - (piece * shape).sum(dim=(2, 3), keepdim=True) / area
    piece = piece + moved * (torch.rand(count, 1, 1, 1) < 0.5).to(images)
    grain = torch.randn(count, 1, *images.shape[2:]).to(images) * _uniform(0, GRAIN, count).to(images)
    flat = black + (tone - black) * factor + grain
    return torch.where(which == 0, piece, torch.where(which == 1, black + (images - black) * factor, flat))


def _pieces(images: Tensor, count: int) -> Tensor:
    """[count, C, S, S]: some of the images, turned and shifted by chance, mirrored beyond their edges."""
    angle, shift = torch.rand(count) * (2 * math.pi), torch.rand(count, 2, 1) * 2 - 1
    turn = torch.stack((angle.cos(), angle.sin(), -angle.sin(), angle.cos()), dim=1).view(count, 2, 2)
    source = images[torch.randint(len(images), (count,)).to(images.device)]
    grid = functional.affine_grid(torch.cat((turn, shift), dim=2), list(source.shape), align_corners=False)
    return functional.grid_sample(source, grid.to(source), padding_mode="reflection", align_corners=False)


def _uniform(low: float, high: float, count: int) -> Tensor:
    """[count, 1, 1, 1] on the CPU."""
    return torch.rand(count, 1, 1, 1) * (high - low) + low
