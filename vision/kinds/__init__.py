"""Kinds by name. The torch half of a kind loads only when it is asked for."""

from vision.kinds.base import Answering, Exploring, Learning


def answering(kind: str) -> Answering:
    """The torch-free half. Raises `KeyError` for a name that the config schema would have refused."""
    from vision.kinds import classify

    return {"classify": classify.Classify()}[kind]


def exploring(kind: str) -> Exploring:
    """What tells about data of this kind. No torch."""
    from vision.kinds import classify_exploring

    return {"classify": classify_exploring.ClassifyExploring()}[kind]


def learning(kind: str) -> Learning:
    """The torch half."""
    from vision.kinds import classify_learning

    return {"classify": classify_learning.ClassifyLearning()}[kind]
