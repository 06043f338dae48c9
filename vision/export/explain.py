"""`explain.onnx`: logits and the Grad-CAM heatmap of every class, each value at its true place in the image.

A unit i of a map whose layers halve the image with odd, evenly padded kernels sees the image around pixel i * stride
(Araujo et al. 2019, "Computing Receptive Fields"), and not around the middle of the i-th of h equal cells, which is
where enlarging the map as a picture would put it: half a stride too far right and down (16 px of stride 32).

A map of stride 32 is also coarser than most lesions. The image is therefore seen again moved by half a stride, and the
maps are interleaved (shift-and-stitch: Long et al. 2015, arXiv:1411.4038, section 3.2): four passes, half the stride.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from vision.explain.gradcam import head_jacobian, heatmaps
from vision.models.network import ServedModel

OUTPUTS = ("logits", "heatmaps")
CELL_PX = 4
"""Side of a cell of the heatmap, in pixels of the model's input; a finer map's own stride where it has one."""
PROBE_PX = 256
"""A multiple of every network's stride."""


class ExplainModel(nn.Module):
    """images uint8 [N, S, S, 3] -> (logits [N, K], heatmaps float [N, K, g, g], >= 0, cells that cover the image).

    normalise: uint8 [N, S, S, 3] -> float [N, 3, S, S]. features: that -> the last feature map [N, D, h, h] of `stride`
    pixels. head: pooled [N, D] -> logits [N, K]; between them lies global average pooling.
    """

    def __init__(self, normalise: nn.Module, features: nn.Module, head: nn.Module, stride: int) -> None:
        super().__init__()
        self.normalise, self.features, self.head, self.stride = normalise, features, head, stride
        self.step = stride // 2 if stride >= 2 * CELL_PX else stride

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        views = self._views(self.normalise(images))
        # One pass over all of them: the network stands in the graph once.
        maps = self.features(views.flatten(0, 1)).unflatten(0, (len(views), -1))
        pooled = maps[0].mean(dim=(2, 3))
        jacobian = head_jacobian(self.head, pooled)
        heat = _stitched([heatmaps(features, jacobian) for features in maps])
        places = self._places(heat.shape[-1], images.shape[1]).to(heat)
        return self.head(pooled), torch.einsum("gh,nkhw,fw->nkgf", places, heat, places)

    def _views(self, pixels: Tensor) -> Tensor:
        """[V, N, C, S, S]: the images as they lie and, where the map is coarse, moved by half its stride: right, down, both."""
        offsets = (0, self.step) if self.step < self.stride else (0,)
        return torch.stack([_moved(pixels, down, right) for down in offsets for right in offsets])

    def _places(self, units: int, side_px: int) -> Tensor:
        """[g, units]: linear interpolation from the units' places in the image to the middles of g cells over it."""
        cells = math.ceil(side_px / min(CELL_PX, self.stride))
        middles = (np.arange(cells) + 0.5) * side_px / cells - 0.5
        at = np.interp(middles, np.arange(units) * self.step, np.arange(units))
        return torch.from_numpy(np.maximum(0, 1 - np.abs(at[:, None] - np.arange(units))).astype(np.float32))


def explain_model(served: ServedModel) -> ExplainModel:
    """The explaining twin of a trained classifier; it shares its weights. The network has a `backbone` and a `head`."""
    network = served.eval().network
    probe = torch.zeros((1, 3, PROBE_PX, PROBE_PX), device=served.projection.device)
    with torch.no_grad():
        stride = PROBE_PX // network.backbone(probe).shape[-1]
    return ExplainModel(served.normalise, network.backbone, network.head, stride)


def _stitched(heat: Sequence[Tensor]) -> Tensor:
    """One [N, K, h, h] as it is; of four views [N, K, 2h, 2h], with those of the moved images in between."""
    if len(heat) == 1:
        return heat[0]
    above, below = (torch.stack(tuple(row), dim=-1).flatten(3) for row in (heat[:2], heat[2:]))
    return torch.stack((above, below), dim=3).flatten(2, 3)


def _moved(pixels: Tensor, down: int, right: int) -> Tensor:
    """pixels [N, C, H, W], moved up and left; what comes in is the last row and column again."""
    padded = nn.functional.pad(pixels, (0, right, 0, down), mode="replicate")
    return padded[:, :, down:, right:]
