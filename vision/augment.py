"""Training images from cached ones: the steps of `training.augment` in their order, batched, with parameters of each
image.

Names and arguments are torchvision's (transforms.v2), and so is the meaning, with these differences, taken for speed:

- geometric steps in a row are one affine map and one bilinear resampling (torchvision resamples for each; its
  rotation takes the nearest pixel by default). What a rotation or a padded crop brings in from outside is black, as
  there.
- `color_jitter` draws the order of its four parts once for up to 16 images, not for each; the factors are drawn for
  each image.
- `random_erasing` fills with the mean colour, which is what torchvision's recipe does by erasing after normalisation
  with 0.
- `mosaic` is none of torchvision's: vision/augment_mosaic.py.
- `gaussian_blur` and `color_jitter` have a probability `p` of their own (torchvision wraps them in RandomApply), by
  default 1.

Without a crop step the images are the centre crops that evaluation sees. Everything random comes from the generator
given.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional

from vision.augment_color import color_jitter, gaussian_blur, grayscale, random_erasing
from vision.augment_geometry import CROPS, GEOMETRY, resample
from vision.augment_mosaic import mosaic
from vision.augment_moves import Moves
from vision.errors import UserError
from vision.package import InputSpec
from vision.preprocess import centre_crop
from vision.training.config import AugmentStep

PIXELS = {"color_jitter": color_jitter, "gaussian_blur": gaussian_blur, "grayscale": grayscale}
CHUNK_IMAGES = 16
"""Images worked on at a time on a CPU: their float planes stay in its caches."""


@dataclass(frozen=True)
class Augment:
    """A callable: (images uint8 [N, R, R, 3], generator on the CPU) -> float [N, 3, S, S] in 0..255, not normalised.

    mean: of each channel in 0..1, what `random_erasing` fills with.
    """

    steps: tuple[AugmentStep, ...]
    spec: InputSpec
    mean: tuple[float, ...]

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        return self.moving(images, generator)[0]

    def moving(self, images: Tensor, generator: Generator) -> tuple[Tensor, Moves]:
        """And where its pixels came from, within what a step can see: the image, or its centre crop where no step crops."""
        if images.device.type != "cpu" or len(images) <= CHUNK_IMAGES:
            return self._augment(images, generator)
        parts = [self._augment(part, generator) for part in images.split(CHUNK_IMAGES)]
        return torch.cat([planes for planes, _ in parts]), Moves.joined([moves for _, moves in parts])

    def _augment(self, images: Tensor, generator: Generator) -> tuple[Tensor, Moves]:
        moves = Moves.none(len(images))
        cropped = any(step.name in CROPS for step in self.steps)
        planes = (images if cropped else centre_crop(images, self.spec)).permute(0, 3, 1, 2).float().contiguous()
        for run in _runs(self.steps):
            if run[0].name in GEOMETRY:
                planes, matrices = resample(planes, run, self.spec.side_px, generator)
                moves = moves.then(matrices)
            elif run[0].name == "mosaic":
                planes, moves = mosaic(planes, run[0].args, generator)
            elif run[0].name == "random_erasing":
                planes = random_erasing(planes, run[0].args, self.mean, generator)
            elif run[0].name == "rand_augment":
                planes = _rand_augment(planes, run[0].args, generator)
            else:
                planes = PIXELS[run[0].name](planes, run[0].args, generator)
        return _fitted(planes, self.spec.side_px), moves


def _fitted(planes: Tensor, side_px: int) -> Tensor:
    """A canvas that no crop came after is shrunk."""
    return planes if planes.shape[-1] == side_px else functional.interpolate(planes, side_px, mode="area")


def build_augment(steps: Sequence[AugmentStep], spec: InputSpec, mean: Sequence[float]) -> Augment:
    """Checks the arguments by a trial on a black image, and that a mosaic comes first.

    Raises `UserError` naming the step whose arguments are unknown or out of range.
    """
    augment = Augment(tuple(steps), spec, tuple(mean))
    if any(step.name == "mosaic" for step in steps[1:]):
        raise UserError(
            "training.augment: mosaic after another step", "mosaic as the first step", "move it to the front"
        )
    for step in steps:
        _try(step, spec, augment.mean)
    return augment


def _try(step: AugmentStep, spec: InputSpec, mean: tuple[float, ...]) -> None:
    image = torch.zeros((2, spec.resize_px, spec.resize_px, 3), dtype=torch.uint8)
    try:
        Augment((step,), spec, mean)(image, torch.Generator().manual_seed(0))
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(
            f"training.augment: {step.name} with {step.args}: {error}",
            "the arguments of torchvision's transform of that name",
            "correct or leave out the argument",
        ) from None


def _runs(steps: Sequence[AugmentStep]) -> list[list[AugmentStep]]:
    """Neighbouring geometric steps together, every other step alone; a second crop opens a new run."""
    runs: list[list[AugmentStep]] = []
    for step in steps:
        joins = runs and step.name in GEOMETRY and runs[-1][0].name in GEOMETRY
        if joins and not (step.name in CROPS and any(s.name in CROPS for s in runs[-1])):
            runs[-1].append(step)
        else:
            runs.append([step])
    return runs


def _rand_augment(planes: Tensor, args: dict, generator: Generator) -> Tensor:
    """torchvision's own RandAugment (Cubuk et al. 2020), image by image, since each draws its own operations."""
    transform = _rand_augment_transform(args)
    images = planes.round().clamp(0, 255).to(torch.uint8)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        return torch.stack([transform(image) for image in images]).float()


def _rand_augment_transform(args: dict) -> Callable[[Tensor], Tensor]:
    from torchvision.transforms import v2

    return v2.RandAugment(**args)
