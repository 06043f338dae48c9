"""One line of evidence, and the exact test that most of them rest on."""

from collections.abc import Mapping

from vision.settings import Section


class Evidence(Section):
    name: str
    seen: float
    """In the window; a share, unless `words` say otherwise."""
    expected: float
    """The same in the reference."""
    p_value: float | None
    """Of something at least this odd without any change; None where nothing was tested."""
    words: str


def excess_p(seen: int, rows: int, reference_seen: int, reference_rows: int) -> float:
    """One-sided p of "more often in the window than in the reference": Fisher's exact test (1935).

    It counts the reference as a sample too: what none of 300 images had is not impossible. With none seen in the
    reference, as beyond its own range, it is the exceedance test (Gumbel & von Schelling 1950).
    """
    from scipy.stats import hypergeom

    return float(hypergeom.sf(seen - 1, rows + reference_rows, seen + reference_seen, rows))


def corrected(p_values: Mapping[str, float]) -> dict[str, float]:
    """By name; Holm's correction."""
    from vision.evaluation.resampling import holm

    return dict(zip(p_values, holm(list(p_values.values())).tolist(), strict=True)) if p_values else {}
