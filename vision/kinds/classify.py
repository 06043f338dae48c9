"""`classify`, the torch-free half: logits to labels with calibrated probabilities."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vision.kinds.base import SystemLike, check_steps
from vision.kinds.embeddings import embeddings_agree
from vision.models.config import CLASSIFIERS
from vision.package import Spec

if TYPE_CHECKING:
    from PIL import Image

PROBABILITY_DIGITS = 6
READING = "Probabilities are softmax(logits / {temperature}), labels in the order of `labels.txt`; trust an answer from\n{confident} on."
CODE = """logits, embedding = session.run(["logits", "embedding"], {{"images": np.asarray(image)[None]}})
powers = np.exp((logits[0] - logits[0].max()) / {temperature})
labels = open("labels.txt").read().split("\\n")
print(labels[powers.argmax()], powers.max() / powers.sum())"""


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
    quantised = ("Conv", "Gemm", "MatMul", "Add")
    limitations = (
        "Every image gets one of the labels, also when it shows none of them; a low confidence is the only hint of that.",
    )
    explain_graph = "explain.onnx"
    explained = "the image under the heatmap of what decided its answer"
    heatmap = True

    def check(self, config: SystemLike) -> None:
        if config.model.arch not in CLASSIFIERS:
            raise ValueError(
                f"model.arch = {config.model.arch} is no classifier; kind classify allows {', '.join(CLASSIFIERS)}"
            )
        check_steps(config)

    def told(self, spec: Spec) -> str:
        return (
            f"answers with one of {len(spec.labels)} labels ({', '.join(spec.labels)}). Probabilities are calibrated with "
            f"temperature {spec.temperature:.2f}; an answer counts as confident from {spec.confident_at:.2f}"
        )

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

    def same(self, answer: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
        return answer["label"] == other["label"]

    def compare(
        self, got: Mapping[str, Any], wanted: Mapping[str, Any], tolerance: float
    ) -> tuple[float, tuple[str, ...]]:
        """By the probability of each label that `got` names; two labels as near as that may change places."""
        shares = {item["label"]: item["probability"] for item in wanted["predictions"]}
        gaps = [abs(item["probability"] - shares.get(item["label"], 0.0)) for item in got.get("predictions") or ()]
        largest = max(gaps, default=1.0)
        reasons = [f"probabilities differ by {largest:.3f}, allowed {tolerance}"] if largest > tolerance else []
        if shares[wanted["label"]] - shares.get(got["label"], 0.0) > tolerance:
            reasons.append(f"label {got['label']}, not {wanted['label']}")
        return largest, tuple(reasons)

    def margin(self, answer: Mapping[str, Any]) -> float:
        """Between the two likeliest labels; where only one is named, as if the rest went to a single other."""
        best = [one.get("probability") for one in answer.get("predictions") or ()][:2]
        if len(best) == 2 and None not in best:
            return float(best[0] - best[1])
        return max(0.0, 2 * float(answer["confidence"]) - 1)

    def vocabulary(self, labels: Sequence[str]) -> tuple[str, ...]:
        return tuple(labels)

    def truth(self, row: Mapping[str, Any], answer: Mapping[str, Any]) -> str:
        return row["label"]

    def wrong_boxes(
        self, boxes: Sequence[Mapping[str, Any]], label: str, answer: Mapping[str, Any], labels: Sequence[str]
    ) -> tuple[str, str]:
        return "boxes, of a model that tells no places", "a label without boxes"

    def overlay(self, image: "Image.Image", outputs: Mapping[str, np.ndarray], spec: Spec, side_px: int) -> np.ndarray:
        """Grad-CAM of the likeliest label. outputs: logits [1, K], heatmaps [1, K, g, g]."""
        from vision.explain.overlay import overlay_whole

        heatmap = outputs["heatmaps"][0, int(outputs["logits"][0].argmax())]
        return overlay_whole(image, heatmap, spec.input, side_px)

    def reading(self, spec: Spec) -> tuple[str, str]:
        numbers = {"temperature": repr(spec.temperature), "confident": f"{spec.confident_at:g}"}
        return READING.format(**numbers), CODE.format(**numbers)

    def same_outputs(self, got: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray]) -> np.ndarray:
        return got["logits"].argmax(axis=1) == wanted["logits"].argmax(axis=1)

    def agree(
        self, got: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray], tolerance: float
    ) -> tuple[bool, float]:
        """Logits within `tolerance` (absolute + relative), the same top class unless two are that close, and the embeddings
        as `embeddings_agree` asks."""
        if any(got[name].shape != wanted[name].shape for name in self.outputs):
            return False, float("inf")
        largest = max(float(np.abs(got[name] - wanted[name]).max(initial=0.0)) for name in self.outputs)
        close = np.allclose(got["logits"], wanted["logits"], atol=tolerance, rtol=tolerance)
        close = close and embeddings_agree(got["embedding"], wanted["embedding"], tolerance)
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
