"""Letters that matplotlib's own font lacks (Chinese, Japanese, Korean, emoji): another font's, or their numbers.

Without this a picture shows one empty box for each, and two labels look the same.
"""

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NOTE = "‹…›: letters that no font on this machine has, by their Unicode numbers"
KEPT = 3
"""Numbers shown at each end of a long word."""
LIKELY = re.compile(
    r"CJK|Han Sans|WenQuanYi|Droid Sans Fallback|PingFang|YaHei|SimHei|Hiragino|Malgun|Unicode|Noto Sans", re.I
)
"""Names of fonts that are looked into; a machine may have thousands of others."""


def spelt(text: str) -> str:
    """`text` with each run of letters that no font has as ‹756A 8304›; of a long run, its ends."""
    if not (unknown := _unknown(text)):
        return text
    runs = re.compile("[" + re.escape("".join(sorted(unknown))) + "]+")
    return runs.sub(lambda found: _numbers(found.group()), text)


def set_fonts(figure: "Figure") -> None:
    """Gives each text the fonts that have its letters, and says what the numbers are where `spelt` wrote some."""
    from matplotlib.text import Text

    for axes in figure.axes:  # until somebody asks, an axis has no tick labels
        axes.get_xticklabels(), axes.get_yticklabels()
    texts = figure.findobj(Text)
    for text in texts:
        if not _has_all(_own_font(), text.get_text()):
            found = [name for name, path in _others() if _has_some(path, text.get_text())]
            text.set_fontfamily(["DejaVu Sans", *found])
    if any("‹" in text.get_text() for text in texts):
        figure.text(0.995, 0.002, NOTE, ha="right", va="bottom", fontsize=6.5, color="#5B626B")


def _numbers(letters: str) -> str:
    numbers = [f"{ord(letter):X}" for letter in letters]
    if len(numbers) > 2 * KEPT:
        numbers = [*numbers[:KEPT], "…", *numbers[-KEPT:]]
    return f"‹{' '.join(numbers)}›"


def _unknown(text: str) -> set[str]:
    fonts = [_own_font(), *(path for _, path in _others())]
    return {letter for letter in text if not letter.isspace() and not any(_has_all(font, letter) for font in fonts)}


@cache
def _own_font() -> str:
    import matplotlib

    return str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")


@cache
def _others() -> tuple[tuple[str, str], ...]:
    """(family, path) of the likely fonts of this machine."""
    from matplotlib.font_manager import fontManager

    found = {entry.name: entry.fname for entry in fontManager.ttflist if LIKELY.search(entry.name)}
    return tuple(sorted(found.items()))


@cache
def _letters(font: str) -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(FT2Font(font).get_charmap())
    except (RuntimeError, OSError):  # a font that went, or that FreeType can't read
        return frozenset()


def _has_all(font: str, text: str) -> bool:
    return text.isascii() or all(ord(letter) in _letters(font) for letter in text if not letter.isspace())


def _has_some(font: str, text: str) -> bool:
    return any(ord(letter) in _letters(font) and ord(letter) not in _letters(_own_font()) for letter in text)
