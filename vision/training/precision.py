"""Number format of the forward and backward pass: by choice, or the faster one by a short probe on this very device."""

import copy
import time
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from vision.errors import UserError
from vision.settings import Section

PROBE_IMAGES = 16
PROBE_STEPS = 3
HOPELESS = 3.0
"""A first step this many times slower than float32's settles it: CPUs without bf16 units may emulate it at a crawl."""
MEMORY_FORMAT = torch.channels_last
"""Of networks and images in training, in every precision. On two cores a step in float32 takes a tenth to a fifth less of a ResNet,
and a third less of MobileNetV3 (docs/detectors.md)."""
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class PrecisionReport(Section):
    """`chosen`, and the probe's CPU-seconds a step where one ran."""

    chosen: Literal["float32", "bf16", "fp16"]
    float32_seconds: float | None = None
    bf16_seconds: float | None = None


@dataclass(frozen=True)
class Precision:
    """How one training computes."""

    name: Literal["float32", "bf16", "fp16"]
    device: torch.device

    def autocast(self) -> torch.autocast:
        dtype = DTYPES.get(self.name)
        return torch.autocast(self.device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None)

    def scaler(self) -> torch.amp.GradScaler:
        """Scales the loss so that fp16's small gradients survive (Micikevicius et al. 2018); does nothing otherwise."""
        return torch.amp.GradScaler(self.device.type, enabled=self.name == "fp16")


def choose_precision(
    asked: Literal["auto", "float32", "bf16", "fp16"], network: nn.Module, side_px: int, device: torch.device
) -> PrecisionReport:
    """`auto`: bf16 on a GPU that has it, on a CPU whichever of float32 and bf16 trains faster in a few steps.

    Raises `UserError` for fp16 without a GPU.
    """
    if asked == "fp16" and device.type != "cuda":
        raise UserError("training.precision: fp16 on a CPU", "auto, float32 or bf16", "set `precision: auto`")
    if asked != "auto":
        return PrecisionReport(chosen=asked)
    if device.type == "cuda":
        return PrecisionReport(chosen="bf16" if torch.cuda.is_bf16_supported() else "float32")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        float32, bf16 = _probe(network, side_px, device)
    finally:
        torch.set_num_threads(threads)
    chosen = "bf16" if bf16 < float32 else "float32"
    return PrecisionReport(chosen=chosen, float32_seconds=float32, bf16_seconds=bf16)


def _probe(network: nn.Module, side_px: int, device: torch.device) -> tuple[float, float]:
    """CPU-seconds of the fastest training step in float32 and in bf16, in turns.

    One thread and CPU time, since on a busy machine wall time says who else was running, and threads that wait spin.
    """
    images = torch.rand(PROBE_IMAGES, 3, side_px, side_px).contiguous(memory_format=MEMORY_FORMAT)
    trials = []
    for name in ("float32", "bf16"):
        precision = Precision(name, device)
        trial = copy.deepcopy(network).to(memory_format=MEMORY_FORMAT).train().requires_grad_(True)
        trials.append((trial, images, precision))
    warm = [_step_seconds(*trial) for trial in trials]
    if warm[1] > HOPELESS * warm[0]:
        return warm[0], warm[1]
    rounds = [[_step_seconds(*trial) for trial in trials] for _ in range(PROBE_STEPS)]
    float32, bf16 = map(min, zip(*rounds, strict=True))
    return float32, bf16


def _step_seconds(trial: nn.Module, images: Tensor, precision: Precision) -> float:
    start = time.process_time()
    with precision.autocast():
        outputs = trial(images)
    sum(value.float().square().mean() for value in outputs.values()).backward()
    trial.zero_grad()
    return time.process_time() - start
