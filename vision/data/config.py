"""What a system says about its data: where it comes from, which classes, how it is split."""

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from vision.settings import Section

Share = Annotated[float, Field(ge=0, le=1)]


class GroupTable(Section):
    """Named groups from a CSV that lies in the source folder: images with one key stay in one split.

    `pattern` takes the key out of the column by its regex groups. With `run_gap`, the last group is a number, any
    groups before it name a series, and images of one label and series whose numbers are at most `run_gap` apart belong
    together (shots in a row).
    """

    table: str = "manifest.csv"
    file_column: str = "file"
    key_column: str = "source_path"
    pattern: str = "(.*)"
    run_gap: Annotated[int, Field(ge=0)] | None = None

    @field_validator("pattern")
    @classmethod
    def pattern_compiles_and_has_a_group(cls, pattern: str) -> str:
        try:
            groups = re.compile(pattern).groups
        except re.error as error:
            raise ValueError(f"not a regex: {error}") from None
        if groups == 0:
            raise ValueError("needs a group in brackets that holds the key")
        return pattern


class FolderSource(Section):
    """`<path>/<class>/*.jpg|jpeg|png|bmp|webp`. A relative path is looked up under VISIONOPS_DATA, then where we are."""

    type: Literal["folder"]
    path: str
    groups: GroupTable | None = None


class TorchvisionSource(Section):
    """A torchvision data set, from VISIONOPS_DATA/<name> when it is there, else downloaded."""

    type: Literal["torchvision"]
    name: Literal["cifar10", "caltech101", "flowers102", "oxford_iiit_pet"]


class HubSource(Section):
    """An archive on the Hugging Face hub (or VISIONOPS_DATA/<filename>), and a folder of classes inside it."""

    type: Literal["hub"]
    repo_id: str
    filename: str
    revision: str = "main"
    sha256: str | None = None
    folder: str = ""


class DrawnSource(Section):
    """Images that the project draws itself, with exact masks. The same seed draws the same bytes."""

    type: Literal["drawn"]
    what: Literal["leaves"] = "leaves"
    images_per_class: Annotated[int, Field(ge=1, le=100_000)] = 300
    side_px: Annotated[int, Field(ge=32, le=1024)] = 160
    seed: int = 7
    scene: Literal["field", "dark", "other_camera"] = "field"
    extra_class: bool = False


Source = Annotated[FolderSource | TorchvisionSource | HubSource | DrawnSource, Field(discriminator="type")]


class SplitConfig(Section):
    """Shares of the three splits, and what must stay together. Shares are of images, kept within what groups allow."""

    train: Share = 0.7
    val: Share = 0.15
    test: Share = 0.15
    seed: int = 42
    near_duplicate_bits: Annotated[int, Field(ge=0, le=16)] = 4
    """Largest Hamming distance between two 64-bit perceptual hashes that still makes them near-duplicates."""

    @model_validator(mode="after")
    def shares_sum_to_one(self):
        if abs(self.train + self.val + self.test - 1) > 1e-6 or min(self.train, self.val, self.test) <= 0:
            raise ValueError(
                f"train + val + test must be 1 and each above 0, got {self.train} + {self.val} + {self.test}"
            )
        return self


class DataConfig(Section):
    source: Source
    classes: tuple[str, ...] | None = None
    """Labels to take, in this order; None takes all, sorted by name."""
    top_k: Annotated[int, Field(ge=2)] | None = None
    """The k labels with the most images (ties by name); instead of `classes`."""
    split: SplitConfig = SplitConfig()

    @model_validator(mode="after")
    def classes_or_top_k(self):
        if self.classes is not None and self.top_k is not None:
            raise ValueError("give `classes` or `top_k`, not both")
        if self.classes is not None and (len(self.classes) < 2 or len(set(self.classes)) < len(self.classes)):
            raise ValueError(f"`classes` needs at least two different labels, got {list(self.classes)}")
        return self
