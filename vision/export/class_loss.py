"""What a smaller graph costs each class, and when that is more than allowed.

Both graphs answer the same held-back images, so an image counts where only one of them is right. A class loses more than
allowed when the lower end of its loss is above that: Clopper and Pearson's (1934) one-sided bound on the share that was
lost, less the share that was gained, at 5 % for all classes and their total together (Bonferroni). What was gained is known
no better than what was lost, so where there is any, Tango's score test of paired shares (1998, Statistics in Medicine 17:891)
has to say so too. So one lost image of 90, 1.1 points, is no proof of a loss above 1 point; five of 90 are. What few images
let pass the reason tells: the loss that 95 % confidence can't rule out (of what is lost, whatever is gained), and how many
images a class needs to prove the limit.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from vision.evaluation.resampling import effective_count

SIGNIFICANCE = 0.05
TOTAL = "all classes together"


@dataclass(frozen=True)
class Loss:
    """lost: images that only the larger graph answers right; gained: only the smaller one. count: what the images are worth
    where several are of one family."""

    what: str
    images: int
    lost: int
    gained: int
    count: float

    @property
    def share(self) -> float:
        """Of the recall; negative when more was gained."""
        return (self.lost - self.gained) / self.images

    def is_above(self, allowed: float, significance: float) -> bool:
        """More is lost than `allowed`, and not by chance."""
        lost = _bound(self, lambda lost, count: (significance, lost, count - lost + 1), 0.0)
        above = lost - self.gained / self.images > allowed
        return above and (not self.gained or _score_test(self, allowed) < significance)

    def at_most(self, significance: float) -> float:
        return _bound(self, lambda lost, count: (1 - significance, lost + 1, count - lost), 1.0)


@dataclass(frozen=True)
class LossVerdict:
    """drop: the worst class's loss of recall, a share."""

    passed: bool
    drop: float
    reason: str


def losses(before: pd.DataFrame, after: pd.DataFrame) -> list[Loss]:
    """One a class, then all together. before, after: `Evaluation.rows` of the same images in the same order."""
    families = before["family"] if "family" in before else before["path"]
    table = pd.DataFrame(
        {
            "label": before["label"].to_numpy(),
            "lost": before["right"].to_numpy(bool) & ~after["right"].to_numpy(bool),
            "gained": after["right"].to_numpy(bool) & ~before["right"].to_numpy(bool),
            "family": families.to_numpy(),
        }
    )
    return [*(_loss(str(label), rows) for label, rows in table.groupby("label", sort=True)), _loss(TOTAL, table)]


def judge_losses(found: Sequence[Loss], allowed: float) -> LossVerdict:
    """found: of `losses`. allowed: the largest loss of recall that may be."""
    significance, classes = SIGNIFICANCE / len(found), found[:-1]
    broken = [one for one in found if one.is_above(allowed, significance)]
    worst = max(classes, key=lambda one: one.share)
    told = max(broken or classes, key=lambda one: one.share)
    said = f"{told.what} loses {told.share:.3f} of its recall ({told.lost} of {told.images} images lost, {told.gained} gained)"
    if broken:
        reason = f"{said}: more than the {allowed:g} allowed, and not by chance"
    else:
        most = max(one.at_most(SIGNIFICANCE) for one in classes)
        proof = "proven" if most <= allowed else f"not proven: up to {most:.3f} can't be ruled out (95 %)"
        reason = (
            f"the worst class, {said}: no loss above the {allowed:g} allowed is seen beyond chance; that it is kept is {proof}. "
            f"Proof takes {images_to_prove(allowed) or 'more than any number of'} images of each class without a loss"
        )
    return LossVerdict(not broken, worst.share, reason)


def images_to_prove(allowed: float) -> int:
    """Of a class: with none of them lost, the loss is at most `allowed` at 95 % confidence; (1 - allowed)^n <= 5 %. 0 where
    no number does."""
    return math.ceil(math.log(SIGNIFICANCE) / math.log1p(-allowed)) if allowed > 0 else 0


def _loss(what: str, rows: pd.DataFrame) -> Loss:
    count = effective_count(rows["family"].to_numpy())
    return Loss(what, len(rows), int(rows["lost"].sum()), int(rows["gained"].sum()), count)


def _bound(loss: Loss, shape, at_end: float) -> float:
    """A quantile of the beta distribution, which takes shares of a family as well as whole ones."""
    from scipy.stats import beta

    quantile, first, second = shape(loss.lost * loss.count / loss.images, loss.count)
    bound = float(beta.ppf(quantile, first, second)) if min(first, second) > 0 else at_end
    return bound if np.isfinite(bound) else at_end


def _score_test(loss: Loss, allowed: float) -> float:
    """Chance of such a loss, or a greater one, where the true one is `allowed`. gain: its likeliest share in that case."""
    from scipy.stats import norm

    lost, gained, count = loss.lost / loss.images, loss.gained / loss.images, loss.count
    half = (lost + gained - (2 - lost + gained) * allowed) / 4
    gain = half + math.sqrt(half**2 + gained * allowed * (1 - allowed) / 2)
    spread = math.sqrt((2 * gain + allowed * (1 - allowed)) / count)
    return float(norm.sf((lost - gained - allowed) / spread))
