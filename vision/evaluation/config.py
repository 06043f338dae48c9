"""What is measured of a trained model, and what the gate asks of it."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from vision.settings import Section

Column = Literal[
    "label", "group", "format", "mode", "exif_orientation", "frames", "blank", "burnt", "width_px", "height_px", "aspect",
    "file_bytes", "brightness", "contrast", "sharpness", "saturation", "warmth", "greenness", "entropy", "noise", "pixels",
]  # fmt: skip
"""What a slice can be cut by: columns of the manifest, and `pixels`, width times height."""
WORDS = ("label", "group", "format", "mode")
LISTED = (*WORDS, "exif_orientation", "frames", "blank", "burnt")
"""Columns of a few values; the others are measured, and hardly ever equal anything."""
Share = Annotated[float, Field(gt=0, lt=1)]


class SliceConfig(Section):
    """A part of the test images: the lowest or highest share of one column, all below or above a value, or all with one
    value. Exactly one of them."""

    column: Column
    lowest: Share | None = None
    highest: Share | None = None
    below: float | None = None
    above: float | None = None
    equals: str | None = None

    @model_validator(mode="after")
    def one_cut(self):
        given = [name for name in ("lowest", "highest", "below", "above", "equals") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give one of lowest, highest, below, above, equals, got {' and '.join(given) or 'none'}")
        if self.equals is not None and self.column not in LISTED:
            raise ValueError(f"equals goes with {', '.join(LISTED)}; {self.column} is measured: give below or above")
        if self.equals is None and self.column in WORDS:
            raise ValueError(f"{self.column} is no number: give equals, got {given[0]}")
        return self


SLICES = {
    "dark": SliceConfig(column="brightness", lowest=0.2),
    "blurred": SliceConfig(column="sharpness", lowest=0.2),
    "small": SliceConfig(column="pixels", lowest=0.2),
}


class EvaluationConfig(Section):
    bootstrap_samples: Annotated[int, Field(ge=100, le=100_000)] = 1000
    interval: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    confident_at: Annotated[float, Field(ge=0, le=1)] = 0.70
    """Calibrated top probability from which an answer counts as confident."""
    grid_images: Annotated[int, Field(ge=4, le=100)] = 25
    latency_runs: Annotated[int, Field(ge=5, le=10_000)] = 50
    latency_warmup_runs: Annotated[int, Field(ge=1)] = 5
    slices: dict[str, SliceConfig] = SLICES
    """Named parts of the test images; the report tells each, and `gate.slices` can hold them."""
    behaviour_images: Annotated[int, Field(ge=10, le=200)] = 100
    """Test images that are turned, shifted and darkened to see whether the answers bear it."""
    limitations: tuple[str, ...] = ()

    @field_validator("slices")
    @classmethod
    def no_slice_is_named_like_the_ends_of_an_interval(cls, slices: dict[str, SliceConfig]) -> dict[str, SliceConfig]:
        if taken := sorted({"low", "high"} & set(slices)):
            raise ValueError(
                f"a slice can't be named {taken[0]}: accuracy_{taken[0]} is the end of accuracy's interval"
            )
        return slices


class SliceGate(Section):
    """Holds one of `evaluation.slices`. What is asked is failed only when chance is ruled out (`gate.significance`)."""

    min_accuracy: Annotated[float, Field(ge=0, le=1)] = 0.0
    min_images: Annotated[int, Field(ge=1)] = 30
    """A slice of fewer test images is not judged; the report says so."""
    max_drop: Annotated[float, Field(ge=0, lt=1)] = 0.10
    """Largest drop of the slice's accuracy against the champion that is still let through."""


class GateConfig(Section):
    """`minimum` and `maximum` name metrics of metrics.json. The champion is met on the same test images, paired."""

    minimum: dict[str, float] = {}
    maximum: dict[str, float] = {}
    min_class_recall: Annotated[float, Field(ge=0, le=1)] = 0.0
    significance: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Of the paired tests against the champion; over classes with Holm's correction."""
    max_drop: Annotated[float, Field(ge=0, lt=1)] = 0.01
    """Largest drop of the headline metric against the champion that is still let through."""
    max_class_drop: Annotated[float, Field(ge=0, lt=1)] = 0.10
    slices: dict[str, SliceGate] = {}
    """By the names of `evaluation.slices`."""
    behaviour: Literal["off", "warn", "hold"] = "warn"
    """What a broken behaviour check does: nothing, a warning, or a lost gate."""
