"""Thresholds of the data contract: what a set of images must be before anything is trained on it."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from vision.settings import Section

Severity = Literal["critical", "warning"]
Rule = Literal[
    "readable", "modes", "width", "height", "labels_known", "blank_share", "burnt_share",
    "images_per_class", "imbalance", "class_in_each_split", "split_shares", "in_a_split", "left_out",
    "exact_duplicate_one_split", "near_duplicate_one_split", "family_one_split",
    "exact_duplicate_one_label", "near_duplicate_one_label", "part_one_split",
    "box_inside", "box_side", "duplicate_boxes", "box_labels_known", "annotations_match", "flawless_share",
    "category_has_boxes",
]  # fmt: skip
Share = Annotated[float, Field(ge=0, le=1)]


class ContractConfig(Section):
    """Each threshold has a default that a clean set meets; `severity` turns a named rule into a warning."""

    max_unreadable_share: Share = 0.0
    modes: tuple[str, ...] = ("RGB", "L", "RGBA", "P", "CMYK", "LA", "1", "I;16")
    min_side_px: Annotated[int, Field(ge=1)] = 32
    max_side_px: Annotated[int, Field(ge=1)] = 20_000
    min_images_per_class: Annotated[int, Field(ge=1)] = 20
    max_imbalance: Annotated[float, Field(ge=1)] = 20.0
    """Largest class divided by smallest."""
    max_blank_share: Share = 0.01
    max_burnt_share: Share = 0.05
    split_share_tolerance: Share = 0.05
    min_box_side_px: Annotated[float, Field(gt=0)] = 2.0
    max_box_outside_px: Annotated[float, Field(ge=0)] = 1.0
    """Tools round differently; what is trained on is cut to the image."""
    duplicate_box_iou: Annotated[float, Field(gt=0, le=1)] = 0.9
    """Two boxes of one class on one image that overlap by this much are one box twice."""
    max_unmatched_share: Share = 0.0
    """Images that no annotation names, and annotated ones that are not there."""
    min_flawless_share: Share = 0.0
    max_flawless_share: Share = 0.95
    severity: dict[Rule, Severity] = {}
    """Rule name -> severity; rules not named here keep `DEFAULT_SEVERITY`, or are critical."""

    @model_validator(mode="after")
    def sides_in_order(self):
        if self.max_side_px < self.min_side_px:
            raise ValueError(f"max_side_px must be at least min_side_px, got {self.max_side_px} < {self.min_side_px}")
        if self.max_flawless_share < self.min_flawless_share:
            low, high = self.min_flawless_share, self.max_flawless_share
            raise ValueError(f"max_flawless_share must be at least min_flawless_share, got {high} < {low}")
        return self


# Perceptual hashes of two classes can be near without any mislabelling: worth a look, no reason to stop. An image left
# out of the splits spoils nothing.
DEFAULT_SEVERITY: dict[str, Severity] = {"near_duplicate_one_label": "warning", "left_out": "warning"}
