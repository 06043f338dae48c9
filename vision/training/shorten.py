"""The same training in fewer epochs: each stage gives up its share, and its schedule runs to its end."""

from vision.training.config import StageConfig, TrainingConfig


def shortened(training: TrainingConfig, factor: float) -> TrainingConfig:
    """Every stage's epochs times `factor` (at most 1), rounded down, and at least one; the warm-up shrinks with them."""
    if factor >= 1:
        return training
    changes = {
        field: tuple(_shorter(stage, factor) for stage in getattr(training, field))
        for field in ("stages", "stages_from_scratch")
    }
    return training.model_copy(update=changes)


def at_most(training: TrainingConfig, stages: tuple[StageConfig, ...], epochs: int | None) -> TrainingConfig:
    """With at most so many epochs in `stages`, those of the two lists that will be trained; None: as it is."""
    return (
        training
        if epochs is None or not stages
        else shortened(training, epochs / sum(stage.epochs for stage in stages))
    )


def _shorter(stage: StageConfig, factor: float) -> StageConfig:
    epochs = max(1, int(stage.epochs * factor + 1e-9))
    changes = {"epochs": epochs, "warmup_epochs": stage.warmup_epochs * epochs / stage.epochs}
    return stage.model_copy(update=changes)
