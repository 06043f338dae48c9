"""How a challenger comes into service: beside the champion first, then for some clients, then for all."""

from typing import Annotated

from pydantic import Field

from vision.settings import Section

Share = Annotated[float, Field(gt=0, lt=1)]


class ReleaseConfig(Section):
    automatic: bool = True
    """False: forward steps wait for a person (`make release SET=release.automatic=true`); taking back does not."""
    shadow_pairs: Annotated[int, Field(ge=10)] = 200
    """Images that both have answered before a canary may start."""
    canary_share: Share = 0.1
    """Part of the clients that a canary answers; a client stays where it is."""
    canary_answers: Annotated[int, Field(ge=10)] = 200
    """Answers of the canary before it may become champion."""
    error_level: Share = 0.05
    """Chance that a good challenger is taken back, over all tests and all looks at the evidence together.

    How likely a bad one is to get through depends on how bad it is and on the two numbers above: docs/releasing.md.
    """
    max_disagreement: Share = 0.3
    """A challenger that answers otherwise more often than this waits for labels to show that it is the better one."""
    disagreement_labels: Annotated[int, Field(ge=10)] = 50
    """Labelled pairs from which on it is taken back, unless it was right more often on them."""
    max_failures: Share = 0.01
    """Share of images that a challenger may fail on."""
    max_latency_ratio: Annotated[float, Field(gt=1)] = 1.5
    """Time of computing an image (geometric mean, batches of like size), challenger to champion."""
    max_unsure_rise: Share = 0.1
    """By how much its share of answers that are not confident may be above the champion's."""
    accuracy_margin: Share = 0.02
    """On labelled answers a challenger may be worse by less than this."""
    max_days: Annotated[float, Field(gt=0)] = 14.0
    """A challenger that has not proved itself by then is taken back."""
