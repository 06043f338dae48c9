"""Where the pixels of augmented images came from, so that whatever has a place in an image can follow them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

NOBODY = -1
LEAST_SIDE = 0.004
"""Share of the image's side: what a crop has left of a box is no box when it is thinner."""


@dataclass(frozen=True)
class Moves:
    """Each of N results shows up to P images of the batch. Coordinates run from -1 to 1 over an image and over a result.

    sources: int64 [P, N], numbers in the batch, `NOBODY` for a part that shows none. matrices: float [P, N, 3, 3], from a
    place in the result to the place in that image (homogeneous).
    """

    sources: Tensor
    matrices: Tensor

    @classmethod
    def none(cls, count: int) -> "Moves":
        return cls(torch.arange(count)[None], torch.eye(3).repeat(1, count, 1, 1))

    def then(self, matrices: Tensor) -> "Moves":
        """matrices [N, 3, 3]: from a place in the next result to one in this."""
        return Moves(self.sources, self.matrices @ matrices)

    @classmethod
    def joined(cls, parts: Sequence["Moves"]) -> "Moves":
        """Of batches that were augmented one after the other, numbers counted through."""
        sources, before = [], 0
        for part in parts:
            sources.append(torch.where(part.sources == NOBODY, NOBODY, part.sources + before))
            before += part.sources.shape[1]
        return cls(torch.cat(sources, dim=1), torch.cat([part.matrices for part in parts], dim=1))


def moved_boxes(targets: Sequence[Mapping[str, Tensor]], moves: Moves) -> list[dict[str, Tensor]]:
    """targets: of each image `boxes` float [n, 4] (x1, y1, x2, y2 in 0..1 of the image) and `labels` int64 [n] -> the same
    of each result. A box goes when its centre is no longer seen; what lies outside is cut off.

    The maps may flip, shift and stretch; of one that turns, the upright box around the turned one is taken.
    """
    backwards = torch.linalg.inv(moves.matrices)
    found = []
    for number in range(moves.sources.shape[1]):
        parts = [
            _seen(targets[source], backwards[piece, number])
            for piece, source in enumerate(moves.sources[:, number].tolist())
            if source != NOBODY
        ]
        found.append({name: torch.cat([part[name] for part in parts]) for name in ("boxes", "labels")})
    return found


def _seen(target: Mapping[str, Tensor], matrix: Tensor) -> dict[str, Tensor]:
    """matrix [3, 3]: from a place in the image to one in the result."""
    boxes = target["boxes"]
    matrix = matrix.to(boxes)
    corners = (boxes * 2 - 1)[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)
    places = (corners @ matrix[:2, :2].T + matrix[:2, 2] + 1) / 2
    centre = places.mean(dim=1)
    low, high = places.amin(dim=1).clamp(0, 1), places.amax(dim=1).clamp(0, 1)
    kept = ((centre >= 0) & (centre < 1)).all(dim=1) & ((high - low) >= LEAST_SIDE).all(dim=1)
    return {"boxes": torch.cat((low, high), dim=1)[kept], "labels": target["labels"][kept]}
