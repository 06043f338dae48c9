"""The processes that train one model together. `Alone` is the team of one, so that `fit` never asks whether it is
distributed."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

FILLED_BYTES = 2**24
"""About so many at a time: what is on its way exists twice."""


class Team(Protocol):
    rank: int
    size: int

    def wrap(self, network: nn.Module) -> nn.Module:
        """The module whose backward pass averages gradients over the team. Anew for each stage: what trains changes."""

    def gather(self, value: Any) -> list[Any]:
        """`value` (plain values and numpy arrays) of every member, in the order of their ranks, for every member."""

    def fill(self, values: np.ndarray) -> None:
        """values float [n, ...], to which each member gave other rows and 0 elsewhere: every member gets all, in place."""

    def share_buffers(self, network: nn.Module) -> None:
        """Gives everybody rank 0's buffers (BatchNorm statistics, which differ after a step)."""


@dataclass(frozen=True)
class Alone:
    rank: int = 0
    size: int = 1

    def wrap(self, network: nn.Module) -> nn.Module:
        return network

    def gather(self, value: Any) -> list[Any]:
        return [value]

    def fill(self, values: np.ndarray) -> None:
        pass

    def share_buffers(self, network: nn.Module) -> None:
        pass


@dataclass(frozen=True)
class Distributed:
    """The default process group of torch.distributed (gloo or nccl), which somebody else has set up."""

    rank: int
    size: int

    def wrap(self, network: nn.Module) -> nn.Module:
        device = next(network.parameters()).device
        devices = [device] if device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(network, device_ids=devices)

    def gather(self, value: Any) -> list[Any]:
        gathered: list[Any] = [None] * self.size
        dist.all_gather_object(gathered, value)
        return gathered

    def fill(self, values: np.ndarray) -> None:
        device = "cuda" if dist.get_backend() == "nccl" else "cpu"
        row_bytes = values.nbytes // max(1, len(values))
        for part in torch.from_numpy(values).split(max(1, FILLED_BYTES // max(1, row_bytes))):
            moved = part.to(device)
            dist.all_reduce(moved)
            part.copy_(moved)

    def share_buffers(self, network: nn.Module) -> None:
        with torch.no_grad():
            for buffer in network.buffers():
                dist.broadcast(buffer, src=0)


def current_team() -> Team:
    """`Distributed` inside a process group of more than one, else `Alone`."""
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        return Distributed(dist.get_rank(), dist.get_world_size())
    return Alone()
