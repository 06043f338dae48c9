"""What a system says about its data: where it comes from, which classes, how it is split."""

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from vision.settings import Section

Share = Annotated[float, Field(ge=0, le=1)]
LabelBy = Literal["class", "presence"]
"""Of data with boxes. class: a model answers with the classes of the boxes, and an image is split by its rarest one
(`normal` without any). presence: with normal or defect, whatever the defect is.
"""
Unlisted = Literal["judge", "normal", "leave_out"]
"""An image that no annotation names. judge: it is not used, and the data contract counts it. normal: it has no defect, as
YOLO's own tools take it. leave_out: it is no part of the data.
"""


class GroupTable(Section):
    """Named groups from a CSV that lies in the source folder: images with one key stay in one split.

    Data with boxes needs no table: with `table: null` the key is the image's own path in the source. `pattern` takes the
    key out of the column by its regex groups. With `run_gap`, the last group is a number, any groups before it name a
    series, and images of one label and series whose numbers are at most `run_gap` apart belong together (shots in a row).
    An image that `pattern` fits without any of its groups (`(key)|^other/`) is in none.
    """

    table: str | None = "manifest.csv"
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

    @model_validator(mode="after")
    def groups_have_a_table(self):
        if self.groups is not None and self.groups.table is None:
            raise ValueError("`groups.table: null` is for data with boxes; a folder of classes needs a table")
        return self


class TorchvisionSource(Section):
    """A torchvision data set, from VISIONOPS_DATA/<name> when it is there, else downloaded."""

    type: Literal["torchvision"]
    name: Literal["cifar10", "caltech101", "flowers102", "oxford_iiit_pet"]


class CocoLayout(Section):
    """COCO files and their images: VISION's `<product>/<train|val>/_annotations.coco.json`, one such folder, or any
    others by name.
    """

    format: Literal["coco"] = "coco"
    annotations: str | tuple[str, ...] = "_annotations.coco.json"
    """A path in the source, or a name: then every file of that name, two folders down at most."""
    images: str | None = None
    """The folder in the source that `file_name` starts from; None: the annotation file's own."""
    products: tuple[str, ...] | None = None
    """Product folders to take; None: all. With several, a class is called `<product>: <category>`."""
    unlisted: Unlisted = "judge"


class YoloLayout(Section):
    """`images/` and `labels/` side by side (or a text file beside each image), names in data.yaml or classes.txt."""

    format: Literal["yolo"] = "yolo"
    names: tuple[str, ...] | None = None
    """Of the classes, in order; None: from data.yaml, classes.txt, or obj.names."""
    unlisted: Unlisted = "judge"


class CocoSource(CocoLayout):
    """A folder with COCO annotations. A relative path is looked up as that of `folder`."""

    type: Literal["coco"]
    path: str
    label_by: LabelBy = "class"
    groups: GroupTable | None = None


class YoloSource(YoloLayout):
    """A folder with YOLO annotations. A relative path is looked up as that of `folder`."""

    type: Literal["yolo"]
    path: str
    label_by: LabelBy = "class"
    groups: GroupTable | None = None


class HubSource(Section):
    """An archive, or several, on the Hugging Face hub (or VISIONOPS_DATA/<filename>), and a folder of classes inside.

    With `boxes`, what is inside has annotations of that layout. Several archives are unpacked into one folder.
    """

    type: Literal["hub"]
    repo_id: str
    filename: str | Annotated[tuple[str, ...], Field(min_length=1)]
    revision: str = "main"
    sha256: str | tuple[str, ...] | None = None
    """Of each archive, in their order."""
    folder: str = ""
    boxes: Annotated[CocoLayout | YoloLayout, Field(discriminator="format")] | None = None
    label_by: LabelBy = "class"
    groups: GroupTable | None = None
    """With `boxes` only."""

    @model_validator(mode="after")
    def a_hash_for_each_archive(self):
        names, hashes = (value if isinstance(value, tuple) else (value,) for value in (self.filename, self.sha256))
        if self.sha256 is not None and len(names) != len(hashes):
            raise ValueError(f"sha256 needs one hash for each of {len(names)} archives, got {len(hashes)}")
        if self.groups is not None and self.boxes is None:
            raise ValueError("`groups` of an archive goes with `boxes` only")
        return self


class DrawnSource(Section):
    """Images that the project draws itself, with exact masks. The same seed draws the same bytes.

    `surfaces` have boxes: of each defect `images_per_class` images that show it, maybe with others, and as many flawless ones.
    """

    type: Literal["drawn"]
    what: Literal["leaves", "surfaces"] = "leaves"
    label_by: LabelBy = "class"
    images_per_class: Annotated[int, Field(ge=1, le=100_000)] = 300
    side_px: Annotated[int, Field(ge=32, le=1024)] = 160
    seed: int = 7
    scene: Literal["field", "dark", "other_camera"] = "field"
    extra_class: bool = False


Source = Annotated[
    FolderSource | TorchvisionSource | HubSource | DrawnSource | CocoSource | YoloSource, Field(discriminator="type")
]


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

    @property
    def has_boxes(self) -> bool:
        source = self.source
        if isinstance(source, HubSource):
            return source.boxes is not None
        return isinstance(source, CocoSource | YoloSource) or getattr(source, "what", None) == "surfaces"

    @property
    def label_by(self) -> LabelBy:
        return self.source.label_by if self.has_boxes else "class"

    @model_validator(mode="after")
    def classes_or_top_k(self):
        if self.classes is not None and self.top_k is not None:
            raise ValueError("give `classes` or `top_k`, not both")
        least, words = (1, "one label, each named once") if self.has_boxes else (2, "two different labels")
        if self.classes is not None and (len(self.classes) < least or len(set(self.classes)) < len(self.classes)):
            raise ValueError(f"`classes` needs at least {words}, got {list(self.classes)}")
        return self
