"""Are two runtimes' embeddings of the same images close enough?"""

import numpy as np


def embeddings_agree(got: np.ndarray, wanted: np.ndarray, tolerance: float) -> bool:
    """Every number within `tolerance` (absolute + relative), or the differences as a whole within that share of what tells
    the images apart: root mean squares, about the mean image. float [N, D].

    Eight bits leave a little noise on every number, and a few of thousands beyond any bound of their own; what uses
    embeddings (drift, novelty, the label queue) goes by distances between images, to which such noise adds in squares:
    half the spread makes them 12 % longer.
    """
    gap = got - wanted
    if not np.isfinite(gap).all():
        return False
    if (np.abs(gap) <= tolerance * (1 + np.abs(wanted))).all():
        return True
    return bool(np.linalg.norm(gap) <= tolerance * np.linalg.norm(wanted - wanted.mean(axis=0)))
