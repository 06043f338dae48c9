"""Kinds by name. The torch half of a kind loads only when it is asked for."""

from typing import Literal

from vision.kinds.base import Answering, Exploring, Learning

Kind = Literal["classify", "detect", "anomaly"]


def answering(kind: str) -> Answering:
    """The torch-free half. Raises `KeyError` for a name that the config schema would have refused."""
    from vision.kinds import anomaly, classify, detect

    return {"classify": classify.Classify, "detect": detect.Detect, "anomaly": anomaly.Anomaly}[kind]()


def exploring(kind: str) -> Exploring:
    """What tells about data of this kind. No torch."""
    from vision.kinds import anomaly_exploring, classify_exploring, detect_exploring

    return {
        "classify": classify_exploring.ClassifyExploring,
        "detect": detect_exploring.DetectExploring,
        "anomaly": anomaly_exploring.AnomalyExploring,
    }[kind]()


def learning(kind: str) -> Learning:
    """The torch half."""
    from vision.kinds import anomaly_learning, classify_learning, detect_learning

    return {
        "classify": classify_learning.ClassifyLearning,
        "detect": detect_learning.DetectLearning,
        "anomaly": anomaly_learning.AnomalyLearning,
    }[kind]()
