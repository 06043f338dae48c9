"""Images that belong together (shots of one leaf, near-duplicates) say one thing several times.

Permutations of single rows then cry wolf: on a set of leaves in runs of up to 24 shots, seven of ten windows of the same
leaves were called drifted at a stated rate of one in 200. Where the reference has families, the null distribution is a
bootstrap of whole families instead (`vision.monitoring.family_bootstrap`). No record says which images of a window belong
together, so a window is taken to come in families as the reference did; one of single images is then judged too mildly,
never too hard. It holds roughly: families of a kind that the reference hardly had, large ones above all, still look like a
change. `vision.monitoring.error_rates` measures how often. Where every image is its own family nothing of this applies and
the permutations are exact.
"""

import numpy as np
import pandas as pd

FAMILY = "family"


def families_of(reference: pd.DataFrame) -> np.ndarray | None:
    """Family number of each row, int [R]; None where each row is its own, or nobody knows."""
    if FAMILY not in reference or not reference[FAMILY].duplicated().any():
        return None
    return pd.factorize(reference[FAMILY])[0]


def worth_of_one(reference: pd.DataFrame) -> float:
    """Of one image among those of its family, in independent images; a window's are taken to come as the reference's did."""
    from vision.evaluation.resampling import effective_count

    families = families_of(reference)
    return 1.0 if families is None else effective_count(families) / len(families)


def sample_families(reference: pd.DataFrame, most: int, seed: int) -> pd.DataFrame:
    """Random whole families, as many as hold at most `most` rows; all rows, when there are no more."""
    if len(reference) <= most:
        return reference
    rng = np.random.default_rng(seed)
    families = families_of(reference)
    if families is None:
        return reference.iloc[np.sort(rng.choice(len(reference), most, replace=False))]
    order = rng.permutation(families.max() + 1)
    fit = order[np.cumsum(np.bincount(families)[order]) <= most]
    return reference[np.isin(families, fit)]
