"""One seed for everything random, and seeds derived from it."""

import hashlib
import random

import numpy as np
import torch


def derived_seed(*parts: int | str) -> int:
    """A seed in 0..2^63 that depends on all `parts` and on nothing else: the same in every process and version."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def set_seed(seed: int, deterministic: bool = True) -> None:
    """Seeds Python, numpy and torch of this process; `deterministic`: cuDNN takes repeatable algorithms only."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    torch.backends.cudnn.deterministic = deterministic
    torch.backends.cudnn.benchmark = not deterministic
