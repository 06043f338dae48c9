"""Which patches a memory keeps: greedy k-centre (Sener and Savarese 2018, arXiv:1708.00489), as PatchCore does."""

import torch
from torch import Tensor

POOL = 40_000
"""Patches that are chosen from, at most: the choice looks at each of them once a patch kept."""


def coreset(patches: Tensor, count: int, seed: int) -> Tensor:
    """patches: float [n, d] -> int64 [min(n, count)], their numbers, each the one furthest from those before it.

    Every patch that is left out then lies near one that is kept, rare ones too. The same for the same seed.
    """
    generator = torch.Generator().manual_seed(seed)
    pool = torch.randperm(len(patches), generator=generator)[:POOL]
    if len(pool) <= count:
        return pool
    found, chosen = patches[pool], [0]
    squares = found.square().sum(dim=1)
    gaps = _squared(found, squares, 0)
    for _ in range(count - 1):
        chosen.append(int(gaps.argmax()))
        gaps = torch.minimum(gaps, _squared(found, squares, chosen[-1]))
    return pool[torch.tensor(chosen)]


def _squared(found: Tensor, squares: Tensor, number: int) -> Tensor:
    """Squared distance of each from the one of that number, exactly 0 for itself."""
    gaps = squares + squares[number] - 2 * found @ found[number]
    gaps[number] = 0.0
    return gaps
