"""Does the exported graph say what the trained network says?"""

from collections.abc import Mapping

import numpy as np

from vision.export.golden import TOLERANCE, Run
from vision.kinds.base import Answering
from vision.verdict import Verdict

BATCH_IMAGES = 7
"""Odd on purpose: neither the batch that was traced nor a divisor of usual counts."""
DEGENERATE_SPREAD = 1e-3


def check_parity(
    reference: Run, exported: Run, images: np.ndarray, kind: Answering, tolerance: float = TOLERANCE
) -> Verdict:
    """Runs both on images uint8 [N, S, S, 3] in batches and compares every output.

    The reasons hold the figures. Warns when the network hardly tells the images apart: agreement then proves little.
    """
    wanted, got = _outputs(reference, images, kind), _outputs(exported, images, kind)
    agreed, difference = kind.agree(got, wanted, tolerance)
    figures = f"{len(images)} images: outputs differ by at most {difference:.2g} (tolerance {tolerance:g})"
    main = kind.outputs[0]
    same_top = _share_of_same_top(got[main], wanted[main])
    spread = float(np.ptp(wanted[main], axis=0).max(initial=0.0))
    warnings = ()
    if spread < DEGENERATE_SPREAD:
        warnings = (f"{main} vary by {spread:.2g} over the images: parity of such a network proves nothing",)
    return Verdict(
        passed=agreed, reasons=(figures, f"same largest {main} on {same_top:.1%} of the images"), warnings=warnings
    )


def _outputs(run: Run, images: np.ndarray, kind: Answering) -> dict[str, np.ndarray]:
    starts = range(0, len(images), BATCH_IMAGES)
    batches: list[Mapping[str, np.ndarray]] = [run(images[start : start + BATCH_IMAGES]) for start in starts]
    return {name: np.concatenate([np.asarray(batch[name]) for batch in batches]) for name in kind.outputs}


def _share_of_same_top(got: np.ndarray, wanted: np.ndarray) -> float:
    if got.shape != wanted.shape:
        return 0.0
    flat_got, flat_wanted = got.reshape(len(got), -1), wanted.reshape(len(wanted), -1)
    return float(np.mean(flat_got.argmax(axis=1) == flat_wanted.argmax(axis=1)))
