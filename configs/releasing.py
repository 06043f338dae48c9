"""How a challenger comes into service: beside the champion first, then for some clients, then for all."""

from typing import Annotated

from pydantic import Field

from vision.settings import Section

Share = Annotated[float, Field(gt=0, lt=1)]


class ReleaseConfig(Section):
    automatic: bool = True
    """False: a challenger waits until a person asks for each step."""
    shadow_pairs: Annotated[int, Field(ge=10)] = 200
    """Images that both have answered before a canary may start."""
    canary_share: Share = 0.1
    """Part of the clients that a canary answers; a client stays where it is."""
    canary_answers: Annotated[int, Field(ge=10)] = 200
    """Answers of the canary before it may become champion."""
    error_level: Share = 0.05
    """Chance of a wrong rollback, and of a wrong promotion, over all looks at the evidence together."""
    max_disagreement: Share = 0.3
    """A challenger that answers otherwise more often than this is taken back, unless labels show that it is right."""
    max_failures: Share = 0.01
    """Share of images that a challenger may fail on."""
    max_latency_ratio: Annotated[float, Field(gt=1)] = 1.5
    """Mean time of computing an image, challenger to champion."""
    accuracy_margin: Share = 0.02
    """On labelled answers a challenger may be worse by less than this."""
    max_days: Annotated[float, Field(gt=0)] = 14.0
    """A challenger that has not proved itself by then is taken back."""
