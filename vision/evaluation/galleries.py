"""Grids of images: what the data looks like, and where the model was right and wrong."""

import math
from pathlib import Path

import numpy as np
import pandas as pd

from vision.evaluation.style import INK, RIGHT, WRONG, new_figure, readable, save

LETTER = 0.65
"""Width of a bold letter as a share of its size, so that no line is wider than what it stands over."""


def pick_answers(rows: pd.DataFrame, count: int, seed: int = 0) -> np.ndarray:
    """Row numbers for a grid: up to half of it wrong answers, the most confident first, then right ones at random."""
    right, confidence = rows["right"].to_numpy(bool), rows["confidence"].to_numpy()
    wrong = np.flatnonzero(~right)
    wrong = wrong[np.argsort(-confidence[wrong], kind="stable")]
    wrong = wrong[: max(count // 2, count - int(right.sum()))]
    others = np.flatnonzero(right)
    chosen = np.random.default_rng(seed).permutation(others)[: count - len(wrong)]
    return np.concatenate([wrong, np.sort(chosen)])


def answer_grid(images: np.ndarray, rows: pd.DataFrame, of_images: int, path: Path) -> Path:
    """images: uint8 [n, S, S, 3], aligned with `rows` (label, answer, confidence, right). Titles green or red, in
    words."""
    titles = [
        f"{'right' if row.right else 'WRONG'}, {row.confidence:.2f}\n{readable(row.answer)}"
        + ("" if row.right else f"\ntrue: {readable(row.label)}")
        for row in rows.itertuples()
    ]
    colours = [RIGHT if right else WRONG for right in rows["right"]]
    wrong = int((~rows["right"].astype(bool)).sum())
    order = f"{wrong} wrong ones, the most confident first, then {len(rows) - wrong} right ones"
    title = f"Answers with their confidence: {order} (of n = {of_images:,})"
    return picture_grid(list(images), titles, colours, title, path)


def sample_grid(splits: pd.DataFrame, root: Path, path: Path, images: int = 25, seed: int = 0) -> Path:
    """Images drawn evenly over the classes, one class after the other. splits: columns path, label, split."""
    rows = splits.dropna(subset="split")
    shuffled = rows.sample(frac=1, random_state=seed)
    turn = shuffled.groupby("label").cumcount()
    chosen = shuffled.assign(turn=turn).sort_values(["turn", "label"]).head(images)
    chosen = chosen.sort_values(["label", "turn"])
    pictures = [thumbnail(root / name) for name in chosen["path"]]
    title = f"Samples of the data ({len(chosen)} of n = {len(rows):,}, {rows['label'].nunique()} classes)"
    return picture_grid(pictures, [readable(label) for label in chosen["label"]], [INK] * len(chosen), title, path)


def thumbnail(path: Path, side_px: int = 224) -> np.ndarray:
    """uint8 [H, W, 3], the long side at most `side_px`."""
    from vision.preprocess import decode

    image = decode(path.read_bytes(), math.inf, draft_px=side_px)
    image.thumbnail((side_px, side_px))
    return np.asarray(image)


def picture_grid(
    images: list[np.ndarray], titles: list[str], colours: list[str], title: str, path: Path, columns: int = 0
) -> Path:
    """images: uint8 [H, W, 3] each, with a title and its colour. columns: 0 chooses.

    One pair of axes for all: a pair for each image costs ten times the time.
    """
    columns = columns or max(1, min(5 if len(images) <= 25 else 8, len(images)))
    lines = max(1, -(-len(images) // columns))
    above = 0.08 + 0.082 * max((text.count("\n") + 1 for text in titles), default=1)
    width_in, head_in = max(1.9 * columns, 7.5), 0.45
    cell_in = width_in / columns
    figure = new_figure(width_in, head_in + lines * (1 + above) * cell_in, layout="none")
    heading = min(11.0, 72 * (width_in - 0.2) / (LETTER * max(1, len(title))))
    high = 1 - 0.12 / figure.get_figheight()
    figure.suptitle(title, fontsize=heading, fontweight="bold", color=INK, x=0.01, y=high, ha="left")
    axes = figure.add_axes((0, 0, 1, 1 - head_in / figure.get_figheight()))
    axes.set(xlim=(0, columns), ylim=(lines * (1 + above), 0))
    axes.axis("off")
    longest = max((len(line) for text in titles for line in text.split("\n")), default=1)
    size = min(8.5, 8.5 * cell_in / 1.75, 72 * (cell_in - 0.08) / (LETTER * max(1, longest)))
    for place, (image, text, colour) in enumerate(zip(images, titles, colours, strict=True)):
        left, top = place % columns, place // columns * (1 + above) + above
        wide, tall = (0.46 * side / max(image.shape[:2]) for side in (image.shape[1], image.shape[0]))
        box = (left + 0.5 - wide, left + 0.5 + wide, top + 0.48 + tall, top + 0.48 - tall)
        axes.imshow(image, extent=box, aspect="auto", interpolation="antialiased")
        axes.text(left + 0.5, top, text, fontsize=size, color=colour, fontweight="bold", ha="center", va="bottom")
    axes.set(xlim=(0, columns), ylim=(lines * (1 + above), 0))
    return save(figure, path)
