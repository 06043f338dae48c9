"""A decision as a value: the contract, the gate and the parity check answer with one and never raise."""

from vision.settings import Section


class Verdict(Section):
    """`passed`, and why. `reasons` names each failure (`macro_f1 0.71 < 0.80`) or, on a pass, what was decisive."""

    passed: bool
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
