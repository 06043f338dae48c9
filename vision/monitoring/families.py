"""Images that belong together (shots of one leaf, near-duplicates) say one thing several times.

Permutations of single rows then cry wolf: on a set of leaves in runs of up to 24 shots, seven of ten windows of the same
leaves were called drifted at a stated rate of one in 200. Where the reference has families, the null distribution is a
cluster bootstrap instead (Davison & Hinkley 1997, section 3.8): windows and references of whole families, drawn from the
reference with replacement. No record says which images of a window belong together, so a window is taken to come in
families as the reference did; one of single images is then judged too mildly, never too hard. Where every image is its
own family nothing of this applies and the permutations are exact.
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


def family_draws(families: np.ndarray, window_rows: int, draws: int, seed: int) -> np.ndarray:
    """float32 [B, R]: weights on the reference's rows, of a drawn window less a drawn reference; each row sums to 0."""
    rng = np.random.default_rng(seed)
    sizes = np.bincount(families)
    window = _drawn(sizes, window_rows, draws, rng)
    reference = _drawn(sizes, len(families), draws, rng)
    return (window - reference)[:, families]


def _drawn(sizes: np.ndarray, rows: int, draws: int, rng: np.random.Generator) -> np.ndarray:
    """float32 [B, families]: how often each family was drawn, over the rows drawn; families until there are `rows`."""
    # Twice as many as needed on average, so that hardly a draw ends short; one that does is a smaller window.
    length = int(np.ceil(2 * rows / sizes.mean())) + 1
    chosen = rng.integers(len(sizes), size=(draws, length))
    ends = np.cumsum(sizes[chosen], axis=1)
    kept = ends - sizes[chosen] < rows
    places = (chosen + np.arange(draws)[:, None] * len(sizes))[kept]
    counts = np.bincount(places, minlength=draws * len(sizes)).reshape(draws, len(sizes)).astype(np.float32)
    return counts / (counts @ sizes.astype(np.float32))[:, None]
