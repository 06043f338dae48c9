"""How often each class is served, seen through a model that errs, and a reference in which it is as often.

Black-box shift estimation (Lipton et al. 2018, arXiv:1802.03916): if classes look as they did and only come in other
numbers, the answers' frequencies are the confusion matrix times the classes' weights.
"""

import numpy as np
import pandas as pd


def served_mix(reference: pd.DataFrame, window: pd.DataFrame) -> pd.Series:
    """Estimated share of each label of the reference in the window; sums to 1. Answers that the reference never gave don't count."""
    from scipy.optimize import nnls

    joint = pd.crosstab(reference["answer_label"], reference["label"], normalize="all")
    given = window["answer_label"].value_counts().reindex(joint.index, fill_value=0).to_numpy(float)
    if given.sum() == 0:
        return joint.sum()
    weights, _ = nnls(joint.to_numpy(), given / given.sum())
    mix = weights * joint.sum().to_numpy()
    return pd.Series(mix / mix.sum() if mix.sum() else joint.sum().to_numpy(), index=joint.columns)


def with_mix(reference: pd.DataFrame, mix: pd.Series, seed: int = 0) -> pd.DataFrame:
    """As many rows of the reference as there are with these shares of its labels; none twice, so tests stay exact."""
    have = reference["label"].value_counts()
    asked = mix[mix > 0]
    size = min(len(reference), *(have.get(label, 0) / share for label, share in asked.items()))
    counts = {label: int(np.floor(share * size + 1e-9)) for label, share in asked.items()}
    order = np.random.default_rng(seed).permutation(len(reference))
    mixed = reference.iloc[order]
    turn = mixed.groupby("label").cumcount()
    return mixed[turn < mixed["label"].map(counts).fillna(0)]


def mix_words(reference: pd.DataFrame, mix: pd.Series, most: int = 5) -> str:
    """The labels whose share changed most."""
    before = reference["label"].value_counts(normalize=True)
    change = (mix - before).abs().sort_values(ascending=False).index[:most]
    return ", ".join(f"{label} {before[label]:.0%} to {mix[label]:.0%}" for label in change)
