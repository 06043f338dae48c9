"""A part of the labels, as if the others had not been given: how well does a system do with fewer?"""

import hashlib

import numpy as np
import pandas as pd


def labelled(rows: pd.DataFrame, share: float, seed: int) -> np.ndarray:
    """rows: images of one split, with `label` and `family` -> int [n], the positions of those that keep their label.

    Of each label about `share` of the images, whole families, at least one; the smaller share lies in the larger one.
    """
    if share >= 1:
        return np.arange(len(rows))
    drawn = rows["family"].map(lambda family: hashlib.sha256(f"{seed}/{family}".encode()).hexdigest())
    taken: set[str] = set()
    for _, members in rows.assign(drawn=drawn).groupby("label"):
        sizes = members.groupby("drawn").size()  # by hash: in an order that only the seed decides
        before = sizes.cumsum() - sizes
        taken |= set(sizes.index[(before + sizes / 2 <= share * len(members)) | (before == 0)])
    return np.flatnonzero(drawn.isin(taken).to_numpy())
