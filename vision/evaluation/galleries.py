"""Grids of images: what the data looks like, and where the model was right and wrong."""

import math
from pathlib import Path

import numpy as np
import pandas as pd

from vision.evaluation.style import INK, RIGHT, WRONG, new_figure, readable, save


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
    return _grid(list(images), titles, colours, title, path)


def sample_grid(splits: pd.DataFrame, root: Path, path: Path, images: int = 25, seed: int = 0) -> Path:
    """Images drawn evenly over the classes, one class after the other. splits: columns path, label, split."""
    rows = splits.dropna(subset="split")
    shuffled = rows.sample(frac=1, random_state=seed)
    turn = shuffled.groupby("label").cumcount()
    chosen = shuffled.assign(turn=turn).sort_values(["turn", "label"]).head(images)
    chosen = chosen.sort_values(["label", "turn"])
    pictures = [_thumbnail(root / name) for name in chosen["path"]]
    title = f"Samples of the data ({len(chosen)} of n = {len(rows):,}, {rows['label'].nunique()} classes)"
    return _grid(pictures, [readable(label) for label in chosen["label"]], [INK] * len(chosen), title, path)


def _thumbnail(path: Path, side_px: int = 224) -> np.ndarray:
    """uint8 [H, W, 3], the long side at most `side_px`."""
    from vision.preprocess import decode

    image = decode(path.read_bytes(), math.inf, draft_px=side_px)
    image.thumbnail((side_px, side_px))
    return np.asarray(image)


def _grid(images: list[np.ndarray], titles: list[str], colours: list[str], title: str, path: Path) -> Path:
    columns = max(1, min(5 if len(images) <= 25 else 8, len(images)))
    lines = max(1, -(-len(images) // columns))
    tall = 0.16 * max((text.count("\n") for text in titles), default=0)
    figure = new_figure(max(1.9 * columns, 7.5), (2.05 + tall) * lines + 0.6)
    figure.suptitle(title, fontsize=11, fontweight="bold", color=INK, x=0.01, ha="left", wrap=True)
    for place, axes in enumerate(figure.subplots(lines, columns, squeeze=False).ravel()):
        axes.axis("off")
        if place < len(images):
            axes.imshow(images[place])
            axes.set_title(titles[place], fontsize=8.5, color=colours[place], fontweight="bold")
    return save(figure, path)
