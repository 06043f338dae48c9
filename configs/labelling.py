"""Which served images people are asked to label."""

from typing import Annotated

from pydantic import Field

from vision.settings import Section


class LabelQueueConfig(Section):
    budget: Annotated[int, Field(ge=1, le=10_000)] = 100
    """Images that wait for a label at a time, in all queues together."""
    near_duplicate_bits: Annotated[int, Field(ge=0, le=16)] = 4
    """Largest Hamming distance between two 64-bit perceptual hashes that still makes them near-duplicates."""
