"""How what was served is compared with what the model was tested on."""

from typing import Annotated

from pydantic import Field, model_validator

from vision.settings import Section


class MonitorConfig(Section):
    min_window: Annotated[int, Field(ge=50)] = 200
    """Records that a window needs; fewer wait for the next run."""
    max_window: Annotated[int, Field(ge=200)] = 100_000
    """Records of one window, roughly; what came beyond waits for the next run."""
    max_rows: Annotated[int, Field(ge=200)] = 2000
    """Rows of a window that are tested; of a larger one a random sample, so that its verdict takes seconds."""
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.005
    """Share of windows without drift that are called drifted all the same, over all columns together."""
    permutations: Annotated[int, Field(ge=99)] = 1999
    alarm_windows: Annotated[int, Field(ge=1)] = 2
    of_windows: Annotated[int, Field(ge=1)] = 3
    """An alarm: so many drifted windows among so many latest ones."""
    null_windows: Annotated[int, Field(ge=20)] = 200
    """Windows drawn from the reference on which the flow measures its own false alarms."""
    kept_reports: Annotated[int, Field(ge=1)] = 100
    """Windows whose pages and pictures are kept, some 6 MB each; verdicts are kept of all."""
    accuracy_drop: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """A fall of the accuracy, estimated or labelled, by more than this is a cause of its own."""
    min_labels: Annotated[int, Field(ge=10)] = 50
    """Labelled answers below which the accuracy on feedback says nothing."""

    @model_validator(mode="after")
    def alarm_is_possible(self):
        if self.alarm_windows > self.of_windows:
            raise ValueError(f"alarm_windows = {self.alarm_windows} is more than of_windows = {self.of_windows}")
        if 1 / (self.permutations + 1) > self.alpha:
            raise ValueError(f"{self.permutations} permutations can't give a p-value below alpha = {self.alpha}")
        return self
