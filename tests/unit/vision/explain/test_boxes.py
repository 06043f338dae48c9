import numpy as np
from PIL import Image, ImageColor

from vision.explain.boxes import INK, PALETTE, colour_of, overlay_boxes

PHOTO = Image.new("RGB", (400, 300), (128, 128, 128))


def luminance(colour: str) -> float:
    """Relative, as WCAG 2.2 defines it."""
    shares = np.array(ImageColor.getrgb(colour)) / 255
    return float(
        np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]
    )


def test_names_can_be_read_on_every_colour_and_a_label_keeps_its_own():
    assert all((luminance(colour) + 0.05) / (luminance(INK) + 0.05) > 7 for colour in PALETTE)
    labels = [f"label {number}" for number in range(12)]
    assert colour_of("label 3", labels) == PALETTE[3] and colour_of("label 9", labels) == PALETTE[1]
    assert len(set(PALETTE)) == len(PALETTE)


def test_the_page_has_the_same_colours():
    from pathlib import Path

    style = (Path(__file__).parents[4] / "web" / "style.css").read_text()
    assert all(f".colour{number} {{ --colour: {colour}; }}" in style for number, colour in enumerate(PALETTE))


def test_boxes_are_drawn_to_scale_and_their_names_stay_on_the_picture():
    corner = {"label": "a very long label of something", "confidence": 0.5, "box": [380, 0, 400, 30]}
    drawn = overlay_boxes(
        PHOTO, [corner, {"label": "pit", "confidence": 1.0, "box": [100, 100, 200, 200]}], ("pit",), 200
    )
    assert drawn.shape == (150, 200, 3)
    changed = (drawn != 128).any(axis=2)
    assert changed[50:100, 50].all() and changed[50:100, 99].all() and not changed[60:90, 60:90].any()
    assert np.array_equal(overlay_boxes(PHOTO, [], ("pit",), 1000), np.asarray(PHOTO))
