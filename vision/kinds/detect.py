"""`detect`, the torch-free half: a detector's candidates to boxes with labels, in pixels of the image sent."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vision.data.boxes.geometry import NORMAL
from vision.kinds import found_boxes
from vision.kinds.base import COMMON, SystemLike, check_steps
from vision.kinds.detect_agree import largest_gap, same_places
from vision.kinds.detect_boxes import SUPPRESS_AT, Found, find
from vision.kinds.embeddings import embeddings_agree
from vision.models.config import DETECTORS
from vision.package import Spec

if TYPE_CHECKING:
    from PIL import Image

SCORE_DIGITS, PIXEL_DIGITS = 6, 2
READING = (
    "`boxes` are candidates (x1, y1, x2, y2) in shares of the image's sides, `scores` of each for every label in the order of\n"
    "`labels.txt`. A box needs a score of {threshold}; of two of one label that overlap by more than {suppress} the better stays."
)
CODE = """import torch, torchvision  # for non-maximum suppression alone

scores, boxes = (torch.from_numpy(each[0]) for each in session.run(["scores", "boxes"], {{"images": np.asarray(image)[None]}}))
best, labels = scores.max(dim=1)
kept = torchvision.ops.batched_nms(boxes, best, labels, {suppress})
names, sides = open("labels.txt").read().split("\\n"), torch.tensor([*photo.size, *photo.size])
for place in kept[best[kept] >= {threshold}].tolist():
    print(names[labels[place]], float(best[place]), (boxes[place] * sides).tolist())"""
MOVABLE = (
    "mosaic", "random_resized_crop", "random_crop", "horizontal_flip", "vertical_flip", "color_jitter", "gaussian_blur",
    "random_erasing", "grayscale",
)  # fmt: skip
"""Augmentation that boxes can follow: what is turned has no upright box any more."""


class Detect:
    """Boxes of the package's labels. Implements `vision.kinds.base.Answering`."""

    name = "detect"
    outputs = ("scores", "boxes", "embedding")
    quantised = ("Conv",)
    explain_graph = None
    heatmap = False
    explained = "the boxes that the answer holds, with their labels"

    def answers(
        self, outputs: Mapping[str, np.ndarray], spec: Spec, sizes_px: Sequence[tuple[int, int]], top_k: int
    ) -> list[dict[str, Any]]:
        """Of each image: label (of the best box, or `normal`), confidence, confident, boxes, threshold, width_px, height_px.

        boxes: those from the package's threshold on, the best first, {label, confidence, box: [x1, y1, x2, y2]} in
        pixels. `top_k` cuts nothing: a client asks for the likeliest labels, and no defect less is there.
        """
        images = zip(outputs["boxes"], outputs["scores"], sizes_px, strict=True)
        return [_answer(boxes, scores, spec, size) for boxes, scores, size in images]

    def answer_schema(self, spec: Spec) -> dict[str, Any]:
        share = {"type": "number", "minimum": 0, "maximum": 1}
        length = {"type": "integer", "minimum": 1, "description": "of the image sent, upright"}
        nothing = f"{NORMAL}: no box reached the threshold"
        properties = {
            "label": {"type": "string", "enum": list(self.vocabulary(spec.labels)),
                      "description": f"label of the best box; {nothing}"},
            "confidence": {**share, "description": f"score of the best box; of {NORMAL}, 1 less the highest score"},
            "confident": {"type": "boolean", "description": f"is the confidence at least {spec.confident_at:g}?"},
            "boxes": found_boxes.boxes_schema(spec.labels),
            "threshold": {**share, "description": "the score that a box needs"},
            "width_px": length,
            "height_px": length,
        }  # fmt: skip
        return {"type": "object", "properties": properties, "required": list(properties)}

    def summary(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        return {name: answer[name] for name in COMMON} | found_boxes.box_columns(answer)

    def same_outputs(self, got: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray]) -> np.ndarray:
        """Has each image the same boxes, within 0.6 of each other's union, whatever they score?"""
        return same_places(got, wanted) & same_places(wanted, got)

    def same(self, answer: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
        return found_boxes.same_boxes(answer, other)

    def compare(
        self, got: Mapping[str, Any], wanted: Mapping[str, Any], tolerance: float
    ) -> tuple[float, tuple[str, ...]]:
        return found_boxes.compare_boxes(got, wanted, tolerance)

    def margin(self, answer: Mapping[str, Any]) -> float:
        return found_boxes.margin_of_boxes(answer)

    def truth(self, row: Mapping[str, Any], answer: Mapping[str, Any]) -> str:
        return found_boxes.truth_of_boxes(row, answer)

    def wrong_boxes(
        self, boxes: Sequence[Mapping[str, Any]], label: str, answer: Mapping[str, Any], labels: Sequence[str]
    ) -> tuple[str, str] | None:
        return found_boxes.wrong_boxes(boxes, label, answer, labels)

    def overlay(self, image: "Image.Image", outputs: Mapping[str, np.ndarray], spec: Spec, side_px: int) -> np.ndarray:
        from vision.explain.boxes import overlay_boxes

        boxes = self.answers(outputs, spec, [image.size], 1)[0]["boxes"]
        return overlay_boxes(image, boxes, spec.labels, side_px)

    def reading(self, spec: Spec) -> tuple[str, str]:
        numbers = {"threshold": f"{spec.threshold:.3f}", "suppress": f"{SUPPRESS_AT:g}"}
        return READING.format(**numbers), CODE.format(**numbers)

    def agree(
        self, got: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray], tolerance: float
    ) -> tuple[bool, float]:
        """Has each the boxes of the other, in about the same place (`detect_agree.least_overlap`) and with a score within
        `tolerance`, and are the embeddings close? The largest gap is of scores and embeddings."""
        if any(got[name].shape != wanted[name].shape for name in self.outputs):
            return False, float("inf")
        embedding = np.abs(got["embedding"] - wanted["embedding"])
        gap = max(largest_gap(got, wanted, tolerance), largest_gap(wanted, got, tolerance))
        close = embeddings_agree(got["embedding"], wanted["embedding"], tolerance)
        return close and gap <= tolerance, max(gap, float(embedding.max(initial=0.0)))

    def vocabulary(self, labels: Sequence[str]) -> tuple[str, ...]:
        return (*labels, *((NORMAL,) if NORMAL not in labels else ()))

    def told(self, spec: Spec) -> str:
        return (
            f"draws boxes around {len(spec.labels)} kinds of things ({', '.join(spec.labels)}). A box needs a score of "
            f"{spec.threshold:.2f}; an image without any is called {NORMAL}; an answer counts as confident from "
            f"{spec.confident_at:.2f}"
        )

    limitations = ("A thing that no label names may get a box of the likeliest label, or none.",)

    def check(self, config: SystemLike) -> None:
        """Raises `ValueError` where there are no boxes, they could not follow the pixels, or the network gives none."""
        if not config.data.has_boxes or config.data.label_by != "class":
            raise ValueError(
                f"data.source ({config.data.source.type}, by {config.data.label_by}) tells of no boxes with classes; kind "
                "detect allows coco, yolo, drawn surfaces and archives with boxes, by class"
            )
        if config.model.arch not in DETECTORS:
            raise ValueError(
                f"model.arch = {config.model.arch} draws no boxes; kind detect allows {', '.join(DETECTORS)}"
            )
        if config.input.crop != "squash":
            raise ValueError(
                f"input.crop = {config.input.crop} cuts boxes off; kind detect allows squash, the whole image"
            )
        check_steps(config)
        if unmoved := [step.name for step in config.training.augment if step.name not in MOVABLE]:
            raise ValueError(
                f"training.augment: boxes can't follow {', '.join(unmoved)}; kind detect allows {', '.join(MOVABLE)}"
            )
        if config.training.cached_views is not None:
            raise ValueError(
                f"training.cached_views = {config.training.cached_views}: no views are kept for boxes; kind detect allows null"
            )


def _answer(boxes: np.ndarray, scores: np.ndarray, spec: Spec, size_px: tuple[int, int]) -> dict[str, Any]:
    found = find(boxes, scores, spec.threshold)
    label = spec.labels[found.classes[0]] if len(found.scores) else NORMAL
    confidence = float(found.scores[0] if len(found.scores) else 1 - scores.max(initial=0.0))
    return {
        "label": label,
        "confidence": round(confidence, SCORE_DIGITS),
        "confident": confidence >= spec.confident_at,
        "boxes": _listed(found, spec, size_px),
        "threshold": spec.threshold,
        "width_px": int(size_px[0]),
        "height_px": int(size_px[1]),
    }


def _listed(found: Found, spec: Spec, size_px: tuple[int, int]) -> list[dict[str, Any]]:
    pixels = np.round(found.boxes * [*size_px, *size_px], PIXEL_DIGITS).tolist()
    return [
        {"label": spec.labels[number], "confidence": round(score, SCORE_DIGITS), "box": box}
        for number, score, box in zip(found.classes.tolist(), found.scores.tolist(), pixels, strict=True)
    ]
