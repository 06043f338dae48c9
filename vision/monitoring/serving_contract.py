"""Faults of a camera or a pipeline, from records alone: images that are broken rather than different.

What it does not know: a lens that is dirty or out of focus gives images that are whole and different; drift finds those.
A camera that is replaced on purpose looks like a fault when its images have another size: then the fault is that nobody
told the model's owner.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from vision.data.features import BLANK_CONTRAST, FEATURES
from vision.monitoring.columns import rounded
from vision.monitoring.evidence import Evidence, corrected, excess_p
from vision.monitoring.families import worth_of_one

MIN_SHARE = 0.02
"""Of a window's rows: fewer odd images are odd images."""
MIN_REPEATED = 0.1
"""Of a window's rows: clients do send an image twice."""
BYTES_FACTOR = 2.0
"""A file this many times smaller or larger than any of the reference was encoded by something else; what a picture shows
changes its bytes too, so less than this is no fault."""
FLAT_ENTROPY = 3.0
"""Bits. Luma of which four fifths lie at the two darkest and two brightest levels is below 4; half of it at one level is
about 3 with an ordinary other half."""
SIZES = ("width_px", "height_px", "aspect")


@dataclass(frozen=True)
class Faults:
    """`evidence`: one line a fault that was found. `rows`: bool [N], rows of the window that show one of these."""

    evidence: tuple[Evidence, ...]
    rows: np.ndarray


@dataclass(frozen=True)
class _Check:
    name: str
    window: np.ndarray
    """bool [rows asked]"""
    reference: np.ndarray
    rows: np.ndarray
    """Row numbers in the window of what was asked."""
    words: str
    least: float = MIN_SHARE
    sides: int = 1
    """2: beyond a range, whose both ends could have been passed by chance."""
    worth: float = 1.0
    """Of one image, in independent ones."""

    @property
    def p_value(self) -> float:
        counts = self.window.sum(), len(self.window), self.reference.sum(), len(self.reference)
        return min(1.0, self.sides * excess_p(*(int(self.worth * count) for count in counts)))


def find_faults(reference: pd.DataFrame, window: pd.DataFrame, alpha: float, refused: int = 0) -> Faults:
    """reference: `reference.parquet`; window: a table as `read_records` makes it, with `attrs["unreadable"]`.

    refused: images that the service did not take in the same time, where that is known. Rows without features (the server
    measures a sample) are not asked about, and are no fault. `alpha` holds for all checks together.
    """
    checks = [*_image_checks(reference, window), *_count_checks(reference, window, refused)]
    p_values = corrected({check.name: check.p_value for check in checks})
    broken, rows = [], np.zeros(len(window), bool)
    for check in checks:
        share = float(check.window.mean()) if len(check.window) else 0.0
        if p_values[check.name] <= alpha and share >= check.least:
            rows[check.rows[check.window[: len(check.rows)]]] = True
            broken.append(_evidence(check, share, p_values[check.name]))
    return Faults(tuple(broken), rows)


def _evidence(check: _Check, share: float, p_value: float) -> Evidence:
    count = int(check.window.sum())
    words = f"{count} of {len(check.window)} {check.words}"
    expected = float(check.reference.mean()) if len(check.reference) else 0.0
    return Evidence(name=check.name, seen=share, expected=expected, p_value=p_value, words=words)


def _image_checks(reference: pd.DataFrame, window: pd.DataFrame) -> list[_Check]:
    """Of the rows whose features were measured."""
    names = [name for name in FEATURES if name in window and name in reference]
    measured = window[names].notna().all(axis=1).to_numpy() if names else np.zeros(len(window), bool)
    numbers, known = np.flatnonzero(measured), reference[names].dropna()
    if len(numbers) == 0 or len(known) == 0:
        return []
    rows = window.iloc[numbers][names]
    worth = worth_of_one(reference)
    checks = [_beyond(known, rows, name, numbers, worth) for name in SIZES if name in names]
    if "contrast" in names:
        words = "images are blank"
        checks.append(_Check("blank", _blank(rows), _blank(known), numbers, words))
    if "entropy" in names:
        flat, usual = _flat(rows), _flat(known)
        checks.append(_Check("burnt_out", flat, usual, numbers, "images are nearly all one or two tones"))
    if "file_bytes" in names:
        words = "files are far smaller or larger than any of the reference"
        odd, usual = (_odd_bytes(known, table) for table in (rows, known))
        checks.append(_Check("file_bytes", odd, usual, numbers, words, sides=2))
    words = "images are copies of one that came before"
    return [*checks, _Check("repeated", _repeated(rows), _repeated(known), numbers, words, MIN_REPEATED)]


def _beyond(known: pd.DataFrame, rows: pd.DataFrame, name: str, numbers: np.ndarray, worth: float) -> _Check:
    """Outside the reference's range, to the digits that records keep."""
    low, high = rounded(known[name].to_numpy(float)).min(), rounded(known[name].to_numpy(float)).max()
    values = rounded(rows[name].to_numpy(float))
    said = f"{low:g}" if low == high else f"{low:g} to {high:g}"
    usual, seen = f"the reference has {said}", f"the window {values.min():g} to {values.max():g}"
    outside = (values < low) | (values > high)
    words, none = f"images have another {name}: {usual}, {seen}", np.zeros(len(known), bool)
    # Where sizes vary, images of a family have the same: one by one, a family that is the largest would be a fault.
    return _Check(name, outside, none, numbers, words, sides=2, worth=1.0 if low == high else worth)


def _blank(rows: pd.DataFrame) -> np.ndarray:
    return (rows["contrast"] < BLANK_CONTRAST).to_numpy()


def _flat(rows: pd.DataFrame) -> np.ndarray:
    return (rows["entropy"] < FLAT_ENTROPY).to_numpy()


def _odd_bytes(known: pd.DataFrame, rows: pd.DataFrame) -> np.ndarray:
    least, most = known["file_bytes"].min() / BYTES_FACTOR, known["file_bytes"].max() * BYTES_FACTOR
    return ((rows["file_bytes"] < least) | (rows["file_bytes"] > most)).to_numpy()


def _repeated(rows: pd.DataFrame) -> np.ndarray:
    """Rows whose features all equal those of a row before."""
    return pd.DataFrame({name: rounded(rows[name].to_numpy(float)) for name in rows}).duplicated().to_numpy()


def _count_checks(reference: pd.DataFrame, window: pd.DataFrame, refused: int) -> list[_Check]:
    """Of lines and images that never became a row."""
    unreadable, none = int(window.attrs.get("unreadable", 0)), np.zeros(len(reference), bool)
    checks = []
    for name, count, words in (
        ("unreadable", unreadable, "lines of the records can't be read"),
        ("refused", refused, "images were refused: broken files, or too large"),
    ):
        seen = np.arange(len(window) + count) >= len(window)
        checks.append(_Check(name, seen, none, np.zeros(0, int), words, MIN_REPEATED))
    return checks
