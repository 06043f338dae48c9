"""Boxes drawn on their photograph, each with its label and confidence. numpy and PIL only, so that a server can draw them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

PALETTE = ("#ffd54a", "#64c4f5", "#ff9e80", "#8ae68c", "#f7a1c4", "#c3b1f0", "#4dd8e6", "#dce775")
"""Those of the page (`web/style.css`): bright, so that dark text is read on them."""
INK = "#111111"


def overlay_boxes(
    image: Image.Image, boxes: Sequence[Mapping[str, Any]], labels: Sequence[str], side_px: int
) -> np.ndarray:
    """The upright photograph, no longer than `side_px`, with its boxes: uint8 [H, W, 3].

    image: RGB. boxes: [{label, confidence, box}], corners in pixels of `image`. labels: of the model, each with a colour.
    """
    drawn = image.copy()
    drawn.thumbnail((side_px, side_px))
    scale = drawn.width / image.width, drawn.height / image.height
    canvas, line = ImageDraw.Draw(drawn), max(2, round(max(drawn.size) / 250))
    font = ImageFont.load_default(size=max(11, round(max(drawn.size) / 36)))
    # The surest last: it lies on top.
    for found in reversed(boxes):
        x1, y1, x2, y2 = (edge * scale[number % 2] for number, edge in enumerate(found["box"]))
        colour = colour_of(found["label"], labels)
        sides = (x1, y1, max(x1, x2 - 1), max(y1, y2 - 1))
        canvas.rectangle(sides, outline=INK, width=line + 2)
        canvas.rectangle(sides, outline=colour, width=line)
        _write(canvas, (x1, y1), f"{found['label']} {found['confidence']:.0%}", colour, font)
    return np.asarray(drawn)


def colour_of(label: str, labels: Sequence[str]) -> str:
    """The same label has the same colour on every image of a model."""
    return PALETTE[labels.index(label) % len(PALETTE) if label in labels else 0]


def _write(canvas: ImageDraw.ImageDraw, corner: tuple[float, float], text: str, colour: str, font) -> None:
    """Above the box where there is room, else inside it; never beyond the picture."""
    width, height = canvas.im.size
    left, top, right, bottom = canvas.textbbox((0, 0), text, font=font)
    wide, high = right - left + 6, bottom - top + 4
    x = min(max(0.0, corner[0]), max(0, width - wide))
    y = corner[1] - high if corner[1] >= high else min(corner[1], max(0, height - high))
    canvas.rectangle((x, y, x + wide, y + high), fill=colour)
    canvas.text((x + 3 - left, y + 2 - top), text, fill=INK, font=font)
