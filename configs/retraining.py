"""What lets a training start by itself. Drift makes a request, never a promotion."""

from typing import Annotated, Literal

from pydantic import Field

from vision.settings import Section


class RetrainingConfig(Section):
    enabled: bool = True
    start: Literal["champion", "config"] = "champion"
    """What a training that was asked for by the monitor starts from, where there is data that the champion did not learn from:
    the champion's weights (`training.stages`), or what `model.weights` says."""
    cool_down_h: Annotated[float, Field(ge=0)] = 24.0
    """From the end of one automatic training to the next request that is granted."""
    budget: Annotated[int, Field(ge=0)] = 4
    budget_days: Annotated[float, Field(gt=0)] = 7.0
    """At most `budget` automatic trainings in so many days."""
    lease_h: Annotated[float, Field(gt=0)] = 12.0
    """A granted training that was not heard of for so long is taken for dead."""
    min_new_labels: Annotated[int, Field(ge=1)] = 50
    """So many newly labelled images ask for a training of their own."""
