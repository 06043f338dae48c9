"""Does every runtime say what the trained network says? One row a runtime, with its tolerance; all must agree.

The tolerances are `vision.export.golden.TOLERANCES`, by the precision that a runtime computes in; a model's input must be
the same bit for bit, wherever it was made of a file's bytes.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from vision.export.golden import TOLERANCE, Run
from vision.kinds.base import Answering
from vision.package import InputSpec
from vision.preprocess import preprocess
from vision.settings import Section
from vision.verdict import Verdict

BATCH_IMAGES = 7
"""Odd on purpose: neither the batch that was traced nor a divisor of usual counts."""
DEGENERATE_SPREAD = 1e-3


class ParityRow(Section):
    """What one runtime differs by from the trained network. same_top: share of images with the same answer.

    difference: None where there is none that is a number (other shapes, values that are not finite).
    """

    what: str
    images: int
    difference: float | None
    tolerance: float
    same_top: float
    passed: bool


def check_parity(
    reference: Run, exported: Run, images: np.ndarray, kind: Answering, tolerance: float = TOLERANCE
) -> Verdict:
    """Runs both on images uint8 [N, S, S, 3] in batches and compares every output.

    The reasons hold the figures. Warns when the network hardly tells the images apart: agreement then proves little.
    """
    wanted = all_outputs(reference, images, kind)
    row = parity_row("", wanted, exported, images, kind, tolerance)
    difference = math.inf if row.difference is None else row.difference
    figures = f"{len(images)} images: outputs differ by at most {difference:.2g} (tolerance {tolerance:g})"
    same = f"the same answer on {row.same_top:.1%} of the images"
    return Verdict(passed=row.passed, reasons=(figures, same), warnings=spread_warnings(wanted, kind))


def parity_row(
    what: str, wanted: Mapping[str, np.ndarray], run: Run, images: np.ndarray, kind: Answering, tolerance: float
) -> ParityRow:
    """wanted: the trained network's outputs for images uint8 [N, S, S, 3], by `all_outputs`."""
    got = all_outputs(run, images, kind)
    agreed, difference = kind.agree(got, wanted, tolerance)
    finite = all(np.isfinite(values).all() for values in got.values())
    return ParityRow(
        what=what,
        images=len(images),
        difference=float(difference) if math.isfinite(difference) else None,
        tolerance=tolerance,
        same_top=_share_of_same(got, wanted, kind),
        passed=bool(agreed and finite),
    )


def input_row(files: Sequence[bytes], seen: np.ndarray, spec: InputSpec) -> ParityRow:
    """The one preprocessing, from the files' bytes as a server gets them, against what training saw of the same images.

    seen: uint8 [N, S, S, 3].
    """
    made = np.stack([preprocess(data, spec, math.inf) for data in files])
    same_shape = made.shape == seen.shape
    gap = float(np.abs(made.astype(np.int16) - seen.astype(np.int16)).max(initial=0)) if same_shape else None
    same = float(np.mean([np.array_equal(one, other) for one, other in zip(made, seen, strict=False)]))
    return ParityRow(
        what="preprocessing (0 to 255)",
        images=len(files),
        difference=gap,
        tolerance=0.0,
        same_top=same,
        passed=gap == 0.0,
    )


def parity_verdict(rows: Sequence[ParityRow], warnings: Sequence[str] = ()) -> Verdict:
    """Passed when every row has."""
    reasons = tuple(
        f"{row.what}: {row.images} images differ by "
        f"{'no number' if row.difference is None else f'at most {row.difference:.2g}'} (tolerance {row.tolerance:g})"
        for row in rows
        if not row.passed
    )
    passed = f"{len(rows)} runtimes and steps agree with the trained network"
    return Verdict(passed=not reasons, reasons=reasons or (passed,), warnings=tuple(warnings))


def all_outputs(run: Run, images: np.ndarray, kind: Answering) -> dict[str, np.ndarray]:
    starts = range(0, len(images), BATCH_IMAGES)
    batches: list[Mapping[str, np.ndarray]] = [run(images[start : start + BATCH_IMAGES]) for start in starts]
    return {name: np.concatenate([np.asarray(batch[name]) for batch in batches]) for name in kind.outputs}


def spread_warnings(wanted: Mapping[str, np.ndarray], kind: Answering) -> tuple[str, ...]:
    main = kind.outputs[0]
    spread = float(np.ptp(wanted[main], axis=0).max(initial=0.0))
    if spread >= DEGENERATE_SPREAD:
        return ()
    return (f"{main} vary by {spread:.2g} over the images: parity of such a network proves nothing",)


def _share_of_same(got: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray], kind: Answering) -> float:
    if any(got[name].shape != wanted[name].shape for name in kind.outputs):
        return 0.0
    return float(np.mean(kind.same_outputs(got, wanted)))
