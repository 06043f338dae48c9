"""Evidence that may be looked at after every answer: bounds on a mean that hold at all looks together.

Testing by betting (Waudby-Smith & Ramdas 2023, JRSS-B 86(1), arXiv:2010.09686): if the mean is at most `m`, whoever bets
on "more than m" with a fixed part of the wealth can't expect to gain; by Ville's inequality the wealth ever reaches
1 / level with probability at most `level`. The wealth here is the mean over a fixed grid of such bets (Cover's universal
portfolio on a grid; Ryu & Bhatt 2022, arXiv:2207.12382). It depends on how often each value came, not on their order, so
it can be computed anew from files at each look.

What it needs: values in a known span, and a mean that is the same whatever came before (independence suffices). Values
that stick together (many answers of one client, say) break that, and the error level with it.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from pydantic import Field

from vision.settings import Section

BETS = np.geomspace(0.002, 0.95, 32)
"""Parts of the wealth that are staked, the largest still safe from ruin. Small ones find small differences, slowly."""
TOO_LITTLE = 1e-9
HALVINGS = 50


class Interval(Section):
    """A mean, and what is known of it. Each bound alone is wrong, at any look ever, with chance `level` at most."""

    value: float | None
    low: float
    high: float
    count: int = Field(ge=0)
    """Values that it rests on."""


class Span(NamedTuple):
    """Between which the values lie."""

    low: float
    high: float


SHARE = Span(0.0, 1.0)


def estimate_mean(values: Sequence[float] | np.ndarray, level: float, span: Span = SHARE) -> Interval:
    """values [N], any order, all within `span`. Raises `ValueError` for one outside."""
    found, counts = np.unique(np.asarray(values, float), return_counts=True)
    if len(found) and not (span.low <= found[0] and found[-1] <= span.high):
        raise ValueError(f"values from {found[0]} to {found[-1]} outside {span}")
    if not len(found):
        return Interval(value=None, low=span.low, high=span.high, count=0)
    mean = float(found @ counts / counts.sum())
    low = _lower_bound(found - span.low, counts, level) + span.low
    high = span.high - _lower_bound(span.high - found[::-1], counts[::-1], level)
    return Interval(value=mean, low=min(low, mean), high=max(high, mean), count=int(counts.sum()))


def estimate_rate(hits: int, count: int, level: float) -> Interval:
    """The share of hits; each of `count` trials is one or is none."""
    return estimate_mean(np.repeat([1.0, 0.0], [hits, count - hits]), level)


def compare_means(
    first: Sequence[float] | np.ndarray, second: Sequence[float] | np.ndarray, level: float, span: Span = SHARE
) -> Interval:
    """Of the mean of first - second, in pairs [N]: both of one image, or of the same time. Each within `span`."""
    width = span.high - span.low
    return estimate_mean(np.subtract(first, second, dtype=float), level, Span(-width, width))


def compare_rates(first: tuple[int, int], second: tuple[int, int], level: float) -> Interval:
    """Of the difference of two shares of independent trials, each given as (hits, count), at any two speeds.

    From the bounds of each at half the level: wider than `compare_means`, but it needs no pairs.
    """
    one, other = (estimate_rate(*given, level / 2) for given in (first, second))
    value = None if one.value is None or other.value is None else one.value - other.value
    return Interval(value=value, low=one.low - other.high, high=one.high - other.low, count=min(one.count, other.count))


def log_wealth_path(values: np.ndarray, null: float, span: Span = SHARE) -> np.ndarray:
    """ln of the wealth after each value: against "the mean of values [..., N] is at most `null`", float [..., N]."""
    gains = (np.asarray(values, float)[..., None] - null) / (null - span.low)
    return _mixed(np.cumsum(np.log1p(BETS * gains), axis=-2))


def _lower_bound(values: np.ndarray, counts: np.ndarray, level: float) -> float:
    """The largest mean that the wealth speaks against. values [U] of at least 0, ascending, so often [U] each.

    The wealth falls as the mean that is bet against rises, and is at most 1 at the mean of the values: bisected.
    """
    low, high = 0.0, float(values @ counts / counts.sum())
    if high <= TOO_LITTLE:
        return 0.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        wealth = _mixed(counts @ np.log1p(BETS * (values[:, None] / middle - 1)))
        low, high = (middle, high) if wealth >= -math.log(level) else (low, middle)
    return low


def _mixed(logs: np.ndarray) -> np.ndarray:
    """ln of the mean of exp(logs) over the last axis, the bets."""
    top = logs.max(axis=-1)
    return top + np.log(np.mean(np.exp(logs - top[..., None]), axis=-1))
