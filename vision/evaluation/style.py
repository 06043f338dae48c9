"""How every picture looks: one palette that colour-blind readers can tell apart, one font size, no global state."""

from pathlib import Path
from typing import TYPE_CHECKING

from vision.evaluation.letters import set_fonts, spelt

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette, the green and red darkened to carry text on white.
BLUE, ORANGE, SKY, GREY, INK = "#0072B2", "#E69F00", "#56B4E9", "#8A8F98", "#22262B"
RIGHT, WRONG = "#00795A", "#C0410B"
MANY = (BLUE, ORANGE, RIGHT, WRONG, SKY, "#CC79A7", "#6A4C93", "#7F6A00", "#333A42", "#A0522D")
SPLIT_COLOURS = {"train": BLUE, "val": SKY, "test": ORANGE}
DPI = 120


def new_figure(width_in: float, height_in: float, layout: str = "constrained") -> "Figure":
    """A figure with its own canvas: pyplot's registry, which is neither thread-safe nor freed, is not touched."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width_in, height_in), dpi=DPI, layout=layout, facecolor="white")


def label_axes(axes: "Axes", title: str, x: str = "", y: str = "") -> None:
    """Title to the left, quiet frame, light grid behind the marks."""
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold", color=INK)
    axes.set_xlabel(x, fontsize=9.5, color=INK)
    axes.set_ylabel(y, fontsize=9.5, color=INK)
    axes.tick_params(labelsize=9, colors=INK, length=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#C9CDD2")
    axes.grid(color="#E6E8EB", linewidth=0.8)
    axes.set_axisbelow(True)


def save(figure: "Figure", path: Path) -> Path:
    set_fonts(figure)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, facecolor="white")
    return path


def readable(label: str, longest: int = 24) -> str:
    """A label for people: no underscores, cut in the middle when it is long. A dollar is one, not mathematics."""
    text = str(label).replace("_", " ")
    text = text if len(text) <= longest else f"{text[: longest - 9]}…{text[-8:]}"
    return spelt(text).replace("$", r"\$")


def percent(value: float) -> str:
    """`87 %`, `99.5 %`: never rounded up to 100."""
    return f"{100 * value:.1f} %" if 0.99 <= value < 1 else f"{100 * value:.0f} %"
