"""`classify`, the torch-free half: logits to labels with calibrated probabilities."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vision.package import Spec

PROBABILITY_DIGITS = 6


def probabilities(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Softmax of logits [N, K] / temperature (Guo et al. 2017, arXiv:1706.04599), float64 [N, K].

    Raises `ValueError` on logits that are not finite: such a model has no answer.
    """
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    if not np.isfinite(scaled).all():
        raise ValueError("the model gave logits that are not finite")
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


class Classify:
    """One label an image, of the package's labels. Implements `vision.kinds.base.Answering`."""

    name = "classify"
    outputs = ("logits", "embedding")

    def answers(
        self, outputs: Mapping[str, np.ndarray], spec: Spec, sizes_px: Sequence[tuple[int, int]], top_k: int
    ) -> list[dict[str, Any]]:
        """Of each image: label, confidence, confident, predictions (the `top_k` best, {label, probability})."""
        return [_answer(row, spec, top_k) for row in probabilities(outputs["logits"], spec.temperature)]

    def answer_schema(self, spec: Spec) -> dict[str, Any]:
        label = {"type": "string", "enum": list(spec.labels)}
        share = {"type": "number", "minimum": 0, "maximum": 1}
        scored = {
            "type": "object",
            "properties": {"label": label, "probability": share},
            "required": ["label", "probability"],
            "additionalProperties": False,
        }
        about = f"is the confidence at least {spec.confident_at:g}? If not, take another photo"
        properties = {
            "label": label,
            "confidence": {**share, "description": "calibrated probability of the label"},
            "confident": {"type": "boolean", "description": about},
            "predictions": {"type": "array", "items": scored, "minItems": 1, "description": "the likeliest first"},
        }
        return {"type": "object", "properties": properties, "required": list(properties)}

    def summary(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        return {name: answer[name] for name in ("label", "confidence", "confident")}

    def agree(
        self, got: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray], tolerance: float
    ) -> tuple[bool, float]:
        """Every number within `tolerance` (absolute + relative), and the same top class unless two are that close."""
        if any(got[name].shape != wanted[name].shape for name in self.outputs):
            return False, float("inf")
        largest = max(float(np.abs(got[name] - wanted[name]).max(initial=0.0)) for name in self.outputs)
        close = all(np.allclose(got[name], wanted[name], atol=tolerance, rtol=tolerance) for name in self.outputs)
        return bool(close and _same_top(got["logits"], wanted["logits"], tolerance)), largest


def _answer(row: np.ndarray, spec: Spec, top_k: int) -> dict[str, Any]:
    """row: probabilities float [K]. Equal ones keep the order of the labels."""
    # Not numpy's sort: it lets go of the interpreter, which other threads then keep for longer than a sort takes.
    shares = row.tolist()
    order = sorted(range(len(shares)), key=shares.__getitem__, reverse=True)[:top_k]
    predictions = [
        {"label": spec.labels[index], "probability": round(shares[index], PROBABILITY_DIGITS)} for index in order
    ]
    top = predictions[0]
    return {
        "label": top["label"],
        "confidence": top["probability"],
        "confident": shares[order[0]] >= spec.confident_at,
        "predictions": predictions,
    }


def _same_top(got: np.ndarray, wanted: np.ndarray, tolerance: float) -> bool:
    """logits float [N, K]. A class that is within 2 * tolerance of the best one may take its place."""
    chosen = np.take_along_axis(wanted, got.argmax(axis=1)[:, None], axis=1)[:, 0]
    best = wanted.max(axis=1)
    return bool(np.all(best - chosen <= 2 * tolerance * (1 + np.abs(best))))
