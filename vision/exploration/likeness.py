"""Which labels look alike in the feature table, and a map of it in two dimensions.

The features know light, colour, texture and size, not shapes: labels that mix here can still be told apart by a network,
but labels that a single feature tells apart may be told apart by the camera alone.
"""

import numpy as np
import pandas as pd

from vision.data.features import FEATURES

MOST_IMAGES = 1500
"""Largest sample; a map of more is no easier to read."""
NEIGHBOURS = 10
LOGARITHMS = ("width_px", "height_px", "file_bytes")
FURTHEST = 4.0
"""Standard deviations at which a feature is cut off: one strange image must not press the others together."""


def sample_rows(rows: pd.DataFrame, most: int = MOST_IMAGES, seed: int = 0) -> pd.DataFrame:
    """One image a family (a copy is always the nearest), at most `most`, each label with its share."""
    one = rows.sample(frac=1, random_state=seed).drop_duplicates("family")
    if len(one) > most:
        one = one.groupby("label", group_keys=False).sample(frac=most / len(one), random_state=seed)
    return one.sort_values("path", ignore_index=True)


def standardised(rows: pd.DataFrame) -> tuple[np.ndarray, list[str]]:
    """float [N, D] with mean 0 and deviation 1, and the names of the D features that vary at all."""
    table = rows[list(FEATURES)].astype(float)
    table[list(LOGARITHMS)] = np.log(table[list(LOGARITHMS)].clip(lower=1))
    table = table.loc[:, table.std() > 1e-9]
    return ((table - table.mean()) / table.std()).clip(-FURTHEST, FURTHEST).to_numpy(), list(table.columns)


def flat_map(points: np.ndarray, seed: int = 0) -> tuple[np.ndarray, str]:
    """float [N, 2] and how it was made: t-SNE (van der Maaten 2008) from the first two principal components on, those
    alone for few images."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    if min(points.shape) < 2:
        return np.zeros((len(points), 2)), "nothing varies"
    if len(points) < 50 or points.shape[1] < 3:
        return PCA(2, random_state=seed).fit_transform(points), "PCA"
    perplexity = min(30.0, len(points) / 6)
    return TSNE(2, perplexity=perplexity, init="pca", random_state=seed, n_jobs=1).fit_transform(points), "t-SNE"


def neighbours(points: np.ndarray, count: int = NEIGHBOURS) -> np.ndarray:
    """int [N, k]: the nearest others of each point."""
    from sklearn.neighbors import NearestNeighbors

    count = min(count, len(points) - 1)
    if count < 1 or not points.shape[1]:  # one image, or images that no feature tells apart
        return np.zeros((len(points), 0), int)
    found = NearestNeighbors(n_neighbors=count).fit(points)
    return found.kneighbors(return_distance=False)


def mixing(labels: np.ndarray, near: np.ndarray) -> pd.DataFrame:
    """One row a pair of labels, the most mixed first: first, second, mixed, images (of both).

    mixed: how often the nearest images of the one are of the other, against how often they would be by chance among the
    images of both; 0 apart, 1 as if nothing told them apart.
    """
    names, numbers = np.unique(labels, return_inverse=True)
    count = len(names)
    cells = np.bincount((numbers[:, None] * count + numbers[near]).ravel(), minlength=count * count)
    shares, sizes, found = cells.reshape(count, count).astype(float), np.bincount(numbers), []
    for one in range(count):
        for other in range(one + 1, count):
            ways = [_against_chance(shares, sizes, *way) for way in ((one, other), (other, one))]
            found.append((names[one], names[other], float(np.mean(ways)), int(sizes[one] + sizes[other])))
    table = pd.DataFrame(found, columns=["first", "second", "mixed", "images"])
    return table.sort_values("mixed", ascending=False, kind="stable", ignore_index=True)


def _against_chance(shares: np.ndarray, sizes: np.ndarray, one: int, other: int) -> float:
    both = shares[one, one] + shares[one, other]
    chance = sizes[other] / max(1, sizes[one] + sizes[other] - 1)
    return shares[one, other] / both / chance if both else 0.0


def between_labels(rows: pd.DataFrame, names: tuple[str, ...]) -> pd.Series:
    """Share of each feature's variance that lies between the labels (eta squared, Fisher 1925), the largest first.

    Corrected for what chance alone gives many labels with few images (epsilon squared, Kelley 1935); 0 at the least.
    """
    table, labels = rows[list(names)].astype(float), rows["label"]
    groups, count = labels.nunique(), len(rows)
    if groups < 2 or count <= groups:
        return pd.Series(dtype=float)
    whole = ((table - table.mean()) ** 2).sum()
    inside = ((table - table.groupby(labels).transform("mean")) ** 2).sum()
    share = 1 - (inside / (count - groups)) / (whole / (count - 1)).where(whole > 1e-12)
    return share.dropna().clip(lower=0).sort_values(ascending=False)
