"""Augmentation of pixel values: planes float [N, 3, H, W] in 0..255, random factors for each image."""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor
from torch.nn import functional

GRAY = (0.2989, 0.587, 0.114)
"""ITU-R 601 luma, as torchvision has it."""


def color_jitter(planes: Tensor, args: dict, generator: Generator) -> Tensor:
    """With probability `p` (default 1) brightness, contrast, saturation and hue, each by a random factor of its range, in a
    random order."""
    if "p" in args:
        chosen = _chosen(len(planes), generator, args["p"]).nonzero()[:, 0].to(planes.device)
        picked = color_jitter(planes[chosen], {name: args[name] for name in args if name != "p"}, generator)
        return planes.index_copy(0, chosen, picked)
    unknown = set(args) - set(_PARTS)
    if unknown:
        raise TypeError(f"unknown argument {', '.join(sorted(unknown))}")
    names = list(_PARTS)
    for number in torch.randperm(len(names), generator=generator).tolist():
        name = names[number]
        low, high = _span(name, args.get(name, 0))
        factors = torch.rand(len(planes), 1, 1, generator=generator) * (high - low) + low
        if (low, high) != ((0, 0) if name == "hue" else (1, 1)):
            planes = _PARTS[name](planes, factors.to(planes.device))
    return planes


def _span(name: str, value: float | Sequence[float]) -> tuple[float, float]:
    """A number v stands for (1 - v, 1 + v), for hue (-v, v). Raises `ValueError` outside of what torchvision allows."""
    centre, least, most = (0, -0.5, 0.5) if name == "hue" else (1, 0, float("inf"))
    low, high = (max(centre - value, least), centre + value) if isinstance(value, int | float) else tuple(value)
    if not least <= low <= high <= most:
        raise ValueError(f"{name} {value} must lie within {least}..{most}")
    return low, high


def _luma(planes: Tensor) -> Tensor:
    """[N, 3, H, W] -> [N, H, W]."""
    red, green, blue = planes.unbind(1)
    return red * GRAY[0] + green * GRAY[1] + blue * GRAY[2]


def _brightness(planes: Tensor, factors: Tensor) -> Tensor:
    return (planes * factors.unsqueeze(1)).clamp_(0, 255)


def _contrast(planes: Tensor, factors: Tensor) -> Tensor:
    mean = _luma(planes).mean(dim=(1, 2), keepdim=True)
    return (planes * factors.unsqueeze(1)).add_(((1 - factors) * mean).unsqueeze(1)).clamp_(0, 255)


def _saturation(planes: Tensor, factors: Tensor) -> Tensor:
    gray = (_luma(planes) * (1 - factors)).unsqueeze(1)
    return (planes * factors.unsqueeze(1)).add_(gray).clamp_(0, 255)


def _hue(planes: Tensor, factors: Tensor) -> Tensor:
    """Turns the hue of HSV by `factors` (0.5 is half the circle), value and chroma kept.

    A channel is value - chroma * clamp(min(k, 4 - k), 0, 1) with k = (n + 6 hue) mod 6 and n = 5, 3, 1 for red,
    green, blue (the closed form of HSV to RGB), so no branch on the sextant is needed on the way back.
    """
    red, green, blue = planes.unbind(1)
    value = torch.maximum(torch.maximum(red, green), blue)
    chroma = value - torch.minimum(torch.minimum(red, green), blue)
    safe = chroma.clamp_min(1e-6)
    is_red = (value == red).float()
    is_green = (value == green).float() * (1 - is_red)
    is_blue = 1 - is_red - is_green
    sextant = is_red * (green - blue) + is_green * (blue - red) + is_blue * (red - green)
    sextant = sextant.div_(safe).add_(2 * is_green).add_(4 * is_blue).add_(6 * factors)
    turned = torch.empty_like(planes)
    for channel, n in enumerate((5, 3, 1)):
        k = torch.remainder(sextant + n, 6)
        torch.sub(value, torch.minimum(k, 4 - k).clamp_(0, 1).mul_(chroma), out=turned[:, channel])
    return turned


_PARTS = {"brightness": _brightness, "contrast": _contrast, "saturation": _saturation, "hue": _hue}


def grayscale(planes: Tensor, args: dict, generator: Generator) -> Tensor:
    """With probability `p` (default 0.1) the three channels become their luma."""
    chosen = _chosen(len(planes), generator, **{"p": 0.1, **args}).to(planes.device)
    return torch.where(chosen[:, None, None, None], _luma(planes).unsqueeze(1), planes)


def gaussian_blur(planes: Tensor, args: dict, generator: Generator) -> Tensor:
    """With probability `p` (default 1): a `kernel_size` Gaussian whose sigma is drawn from `sigma` (0.1, 2.0), edges
    mirrored."""
    return _blur(planes, generator, **args)


def _blur(
    planes: Tensor, generator: Generator, kernel_size: int = 3, sigma: Sequence[float] = (0.1, 2.0), p: float = 1.0
) -> Tensor:
    size = int(kernel_size)
    if size < 1 or size % 2 == 0 or not 0 < sigma[0] <= sigma[1]:
        raise ValueError(f"kernel_size {kernel_size} must be odd and sigma {tuple(sigma)} rising above 0")
    chosen = _chosen(len(planes), generator, p).nonzero()[:, 0].to(planes.device)
    spread = torch.rand(len(planes), 1, generator=generator).to(planes.device)[chosen]
    sigmas = spread * (sigma[1] - sigma[0]) + sigma[0]
    if not len(chosen):
        return planes
    offsets = torch.arange(size, device=planes.device) - size // 2
    weights = torch.softmax(-0.5 * (offsets / sigmas) ** 2, dim=1)
    picked, margin = planes[chosen], size // 2
    for axis in (2, 3):
        pad = (0, 0, margin, margin) if axis == 2 else (margin, margin, 0, 0)
        padded = functional.pad(picked, pad, mode="reflect")
        length = picked.shape[axis]
        taps = (padded.narrow(axis, start, length) * weights[:, start, None, None, None] for start in range(size))
        picked = sum(taps)
    blurred = planes.clone()
    blurred[chosen] = picked
    return blurred


def random_erasing(planes: Tensor, args: dict, mean: Sequence[float], generator: Generator) -> Tensor:
    """With probability `p` (default 0.5) a box of a random share `scale` of the area takes the mean colour (Zhong et
    al. 2017)."""
    return _erase(planes, mean, generator, **args)


def _erase(
    planes: Tensor,
    mean: Sequence[float],
    generator: Generator,
    p: float = 0.5,
    scale: Sequence[float] = (0.02, 0.33),
    ratio: Sequence[float] = (0.3, 3.3),
) -> Tensor:
    if not (0 < scale[0] <= scale[1] <= 1 and 0 < ratio[0] <= ratio[1]):
        raise ValueError(f"scale {tuple(scale)} must rise within 0..1 and ratio {tuple(ratio)} above 0")
    count, _, height_px, width_px = planes.shape
    chosen = _chosen(count, generator, p)
    draws = torch.rand(4, count, generator=generator)
    area = draws[0] * (scale[1] - scale[0]) + scale[0]
    low, high = torch.tensor(ratio).log()
    aspect = (draws[1] * (high - low) + low).exp()
    # torchvision draws again when a box does not fit; here the longer side is cut to the image.
    rows = ((area * aspect).sqrt() * height_px).round().clamp(1, height_px)
    columns = ((area / aspect).sqrt() * width_px).round().clamp(1, width_px)
    top, left = (draws[2] * (height_px - rows + 1)).floor(), (draws[3] * (width_px - columns + 1)).floor()
    erased = planes.clone()
    fill = torch.tensor(mean, device=planes.device)[:, None, None] * 255
    for number in chosen.nonzero()[:, 0].tolist():
        y, x = int(top[number]), int(left[number])
        erased[number, :, y : y + int(rows[number]), x : x + int(columns[number])] = fill
    return erased


def _chosen(count: int, generator: Generator, p: float) -> Tensor:
    """bool [N]. Raises `ValueError` for a probability outside 0..1."""
    if not 0 <= p <= 1:
        raise ValueError(f"p {p} must lie within 0..1")
    return torch.rand(count, generator=generator) < p
