"""Grids of images with boxes: right, false and missed."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

from vision.evaluation.galleries import picture_grid
from vision.evaluation.style import RIGHT, WRONG

if TYPE_CHECKING:
    from vision.data.cache import Crops

SIDE_PX = 320
"""Of an image in a grid: lines must stay thin beside small boxes."""
GREEN, RED, AMBER = "#00A878", "#E4572E", "#F5B700"
MISSED_WIDTH, WIDTH = 3, 2


def answer_grid(images: "np.ndarray | Crops", rows: pd.DataFrame, count: int, path: Path, seed: int = 0) -> Path:
    """Up to half of `count` images with an error, the others drawn at random. images: aligned with `rows`."""
    wrong = np.flatnonzero(~rows["right"].to_numpy(bool))
    others = np.flatnonzero(rows["right"].to_numpy(bool))
    rng = np.random.default_rng(seed)
    wrong = rng.permutation(wrong)[: max(count // 2, count - len(others))]
    picks = np.concatenate([np.sort(wrong), np.sort(rng.permutation(others)[: count - len(wrong)])]).astype(int)
    title = f"Boxes on test images (n = {len(rows):,}): green right, red false, amber missed"
    return boxes_picture(images, rows, picks, title, path)


def boxes_picture(images: "np.ndarray | Crops", rows: pd.DataFrame, picks: np.ndarray, title: str, path: Path) -> Path:
    """rows: `found`, `missed` and `right` of an evaluation; picks: which of them, in this order."""
    order = np.argsort(picks, kind="stable")
    read = dict(zip(picks[order].tolist(), images[picks[order]], strict=True))
    shown = [drawn(read[int(pick)], rows["found"].iloc[pick], rows["missed"].iloc[pick]) for pick in picks]
    titles = [_title(rows.iloc[pick]) for pick in picks]
    colours = [RIGHT if rows["right"].iloc[pick] else WRONG for pick in picks]
    return picture_grid(shown, titles, colours, title, path, columns=4)


def drawn(image: np.ndarray, found: Any, missed: Any) -> np.ndarray:
    """image uint8 [S, S, 3]; boxes with x1, y1, x2, y2 in 0..1."""
    canvas = Image.fromarray(image).resize((SIDE_PX, SIDE_PX), Image.Resampling.BILINEAR)
    pen = ImageDraw.Draw(canvas)
    for box in missed:
        pen.rectangle(_pixels(box), outline=AMBER, width=MISSED_WIDTH)
    for box in found:
        pen.rectangle(_pixels(box), outline=GREEN if box["right"] else RED, width=WIDTH)
    return np.asarray(canvas)


def _pixels(box: Any) -> list[float]:
    return [min(SIDE_PX - 1, box[side] * SIDE_PX) for side in ("x1", "y1", "x2", "y2")]


def _title(row: pd.Series) -> str:
    right = sum(bool(box["right"]) for box in row["found"])
    return f"{right} right, {len(row['found']) - right} false, {len(row['missed'])} missed"
