"""Learning rate over the steps of one stage, as a factor of the stage's rate. Functions of the step: nothing to
save."""

import math
from typing import Literal

ONE_CYCLE_RISE = 0.3
ONE_CYCLE_START = 1 / 25
ONE_CYCLE_END = 1 / 25e4


def lr_factor(
    schedule: Literal["cosine", "one_cycle", "constant"], step: int, steps: int, warmup_steps: float
) -> float:
    """Factor at `step` (0-based) of `steps`.

    cosine, constant: a linear rise over the warm-up, then a half cosine down to 0 (Loshchilov and Hutter 2017), or 1.
    one_cycle: cosine up from 1/25 and down to 1/250000 as in torch's OneCycleLR (Smith and Topin 2018), momentum left
    alone; the rise takes the warm-up, or 30 % of the steps when there is none.
    """
    if schedule == "one_cycle":
        rise = max(1.0, (warmup_steps or ONE_CYCLE_RISE * steps) - 1)
        if step <= rise:
            return _half_cosine(ONE_CYCLE_START, 1.0, step / rise)
        return _half_cosine(1.0, ONE_CYCLE_END, (step - rise) / max(1.0, steps - 1 - rise))
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    if schedule == "constant":
        return 1.0
    return _half_cosine(1.0, 0.0, (step - warmup_steps) / max(1.0, steps - warmup_steps))


def _half_cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * min(1.0, share))) / 2
