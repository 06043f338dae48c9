"""`anomaly`, the torch-free half: how far an image is from all normal ones, and where.

The model's `score` [N, 1] and `heat` [N, h, w] are in units of the threshold, which was set at a stated false-alarm rate:
above 1 is a defect.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vision.data.boxes.geometry import DEFECT, NORMAL
from vision.explain import heat as heats
from vision.kinds import found_boxes
from vision.kinds.base import COMMON, SystemLike
from vision.kinds.embeddings import embeddings_agree
from vision.models.config import CLASSIFIERS
from vision.package import Spec

if TYPE_CHECKING:
    from PIL import Image

THRESHOLD = 1.0
LEAST = 1e-6
DIGITS, PIXEL_DIGITS = 6, 1
HOT = 2.0
"""Times the threshold: what the overlay shows in its strongest colour, so that a normal image stays cool."""
READING = (
    "`score` and `heat` (of each patch) are in units of the threshold: above 1 is a defect. Its probability is\n"
    "1 / (1 + score ** (-1 / {temperature})); trust an answer from {confident} on."
)
CODE = """score, heat = session.run(["score", "heat"], {{"images": np.asarray(image)[None]}})
probability = 1 / (1 + score[0, 0] ** (-1 / {temperature}))
print("defect" if score[0, 0] > 1 else "normal", max(probability, 1 - probability))"""


def evidence(score: np.ndarray) -> np.ndarray:
    """score: float [N, 1] -> logits float64 [N, 2] of normal and defect: alike at the threshold, apart by log(score)."""
    apart = np.log(np.maximum(np.asarray(score, np.float64), LEAST))
    return np.concatenate([-apart / 2, apart / 2], axis=1)


def probability(score: float | np.ndarray, temperature: float) -> Any:
    """That it is a defect, calibrated."""
    return 1 / (1 + np.maximum(score, LEAST) ** (-1 / temperature))


class Anomaly:
    """Normal or defect, learnt from normal images. Implements `vision.kinds.base.Answering`."""

    name = "anomaly"
    outputs = ("score", "heat", "embedding")
    explain_graph = None
    explained = "the image under the heat of what is unlike all normal images"
    heatmap = True
    quantised = ("Conv",)
    limitations = (
        "What is unlike the normal images that it learnt from counts as a defect: another camera, light or product too.",
        "The false-alarm rate holds for normal images like those; which defects are found, no rate is stated of.",
    )

    def check(self, config: SystemLike) -> None:
        if config.model.arch not in CLASSIFIERS:
            raise ValueError(
                f"model.arch = {config.model.arch} is no plain backbone; kind anomaly allows {', '.join(CLASSIFIERS)}"
            )
        for field in ("stages", "stages_from_scratch"):
            if getattr(config.training, field):
                raise ValueError(f"training.{field} must be empty: kind anomaly fills a memory in one pass")

    def told(self, spec: Spec) -> str:
        return (
            "has learnt from normal images alone, and calls an image a defect whose hottest patches are further from them "
            f"than its threshold. An answer counts as confident from {spec.confident_at:.2f}"
        )

    def answers(
        self, outputs: Mapping[str, np.ndarray], spec: Spec, sizes_px: Sequence[tuple[int, int]], top_k: int
    ) -> list[dict[str, Any]]:
        """Of each image: label, confidence, confident, score, threshold, width_px, height_px, boxes (of a defect)."""
        rows = zip(outputs["score"][:, 0].tolist(), outputs["heat"], sizes_px, strict=True)
        return [_answer(score, heat, size, spec) for score, heat, size in rows]

    def answer_schema(self, spec: Spec) -> dict[str, Any]:
        share = {"type": "number", "minimum": 0, "maximum": 1}
        about = f"is the confidence at least {spec.confident_at:g}? If not, let a person look"
        pixels = {"type": "integer", "minimum": 1, "description": "of the image as it was sent, upright"}
        far = "distance from all normal images, in units of the threshold"
        properties = {
            "label": {"type": "string", "enum": list(spec.labels)},
            "confidence": {**share, "description": "calibrated probability of the label"},
            "confident": {"type": "boolean", "description": about},
            "score": {"type": "number", "minimum": 0, "description": far},
            "threshold": {"type": "number", "const": THRESHOLD, "description": "a score above it is a defect"},
            "width_px": pixels,
            "height_px": pixels,
            "boxes": found_boxes.boxes_schema((DEFECT,)),
        }
        return {"type": "object", "properties": properties, "required": list(properties)}

    def summary(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        told = {name: answer[name] for name in COMMON}
        return {**told, "score": answer["score"], **found_boxes.box_columns(answer)}

    def same(self, answer: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
        return answer["label"] == other["label"]

    def compare(
        self, got: Mapping[str, Any], wanted: Mapping[str, Any], tolerance: float
    ) -> tuple[float, tuple[str, ...]]:
        """By the score, relative to it. Areas that touch at the threshold may part, so boxes are not compared."""
        gap = abs(got["score"] - wanted["score"]) / (1 + abs(wanted["score"]))
        reasons = [f"scores {got['score']:.3f} and {wanted['score']:.3f} differ by {gap:.3f}, allowed {tolerance}"]
        return gap, tuple(reasons if gap > tolerance else [])

    def margin(self, answer: Mapping[str, Any]) -> float:
        return float(max(0.0, 2 * answer["confidence"] - 1))

    def vocabulary(self, labels: Sequence[str]) -> tuple[str, ...]:
        return tuple(labels)

    def truth(self, row: Mapping[str, Any], answer: Mapping[str, Any]) -> str:
        return row["label"]

    def wrong_boxes(
        self, boxes: Sequence[Mapping[str, Any]], label: str, answer: Mapping[str, Any], labels: Sequence[str]
    ) -> tuple[str, str] | None:
        return found_boxes.wrong_boxes(boxes, label, answer, (DEFECT,))

    def overlay(self, image: "Image.Image", outputs: Mapping[str, np.ndarray], spec: Spec, side_px: int) -> np.ndarray:
        """outputs: heat [1, h, w]."""
        from vision.explain.overlay import overlay_whole

        return overlay_whole(image, shown_heat(outputs["heat"][0]), spec.input, side_px, peak=1.0)

    def reading(self, spec: Spec) -> tuple[str, str]:
        numbers = {"temperature": repr(spec.temperature), "confident": f"{spec.confident_at:g}"}
        return READING.format(**numbers), CODE.format(**numbers)

    def same_outputs(self, got: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray]) -> np.ndarray:
        return (got["score"][:, 0] > THRESHOLD) == (wanted["score"][:, 0] > THRESHOLD)

    def agree(
        self, got: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray], tolerance: float
    ) -> tuple[bool, float]:
        """Every number within `tolerance` (absolute + relative); the embeddings as `embeddings_agree` asks."""
        if any(got[name].shape != wanted[name].shape for name in self.outputs):
            return False, float("inf")
        largest = max(float(np.abs(got[name] - wanted[name]).max(initial=0.0)) for name in self.outputs)
        numbers = (name for name in self.outputs if name != "embedding")
        close = all(np.allclose(got[name], wanted[name], atol=tolerance, rtol=tolerance) for name in numbers)
        return bool(close and embeddings_agree(got["embedding"], wanted["embedding"], tolerance)), largest


def shown_heat(heat: np.ndarray) -> np.ndarray:
    """heat float [h, w] in units of the threshold -> 0..1, as an overlay shows it: nothing below half the threshold."""
    return np.clip((heats.laid(heat) - 0.5) / (HOT - 0.5), 0.0, 1.0)


def _answer(score: float, heat: np.ndarray, size_px: tuple[int, int], spec: Spec) -> dict[str, Any]:
    """Raises `ValueError` for a score that is no number: such a model has no answer."""
    if not np.isfinite(score):
        raise ValueError("the model gave a score that is not finite")
    defect = score > THRESHOLD
    chance = float(probability(score, spec.temperature))
    confidence = chance if defect else 1 - chance
    return {
        "label": DEFECT if defect else NORMAL,
        "confidence": round(confidence, DIGITS),
        "confident": confidence >= spec.confident_at,
        "score": round(score, DIGITS),
        "threshold": THRESHOLD,
        "width_px": size_px[0],
        "height_px": size_px[1],
        "boxes": _boxes(heat, size_px, spec) if defect else [],
    }


def _boxes(heat: np.ndarray, size_px: tuple[int, int], spec: Spec) -> list[dict[str, Any]]:
    from vision.preprocess import input_box

    left, top, right, bottom = input_box(size_px, spec.input)
    start, sides = np.array([left, top] * 2), np.array([right - left, bottom - top] * 2)
    return [
        {
            "label": DEFECT,
            "confidence": round(float(probability(hottest, spec.temperature)), DIGITS),
            "box": [round(float(edge), PIXEL_DIGITS) for edge in start + box * sides],
        }
        for hottest, box in heats.hot_areas(heat, THRESHOLD)
    ]
