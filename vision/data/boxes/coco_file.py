"""One COCO file: its form, and what in it can't be meant. Nothing of it is mended in silence."""

import json
from codecs import BOM_UTF8
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, FiniteFloat, ValidationError

from vision.data.boxes.sets import check_categories
from vision.errors import UserError

NAMED = 3
Id = int | str
Bbox = tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]


class CocoImage(BaseModel):
    id: Id
    file_name: str
    width: int | None = None
    height: int | None = None


class CocoCategory(BaseModel):
    id: Id
    name: str


class CocoAnnotation(BaseModel):
    id: Id | None = None
    image_id: Id
    category_id: Id
    bbox: Annotated[Bbox | None, BeforeValidator(lambda value: value or None)] = None
    segmentation: list | dict | None = None
    iscrowd: int = 0


class CocoFile(BaseModel):
    images: list[CocoImage]
    annotations: list[CocoAnnotation]
    categories: list[CocoCategory]


def read_coco(file: Path) -> CocoFile:
    """Raises `UserError` for anything else than a COCO file whose ids are all there, each once."""
    try:
        content = CocoFile.model_validate_json(file.read_bytes().removeprefix(BOM_UTF8))
    except ValidationError as error:
        raise UserError(
            f"{file} is no COCO file: {_told(error, file)}",
            "JSON with `images` (id, file_name), `annotations` (image_id, category_id, bbox of four numbers), `categories`",
            "mend it, or export it again",
        ) from None
    _check_ids(content, file)
    check_categories([category.name for category in content.categories], str(file))
    return content


def _told(error: ValidationError, file: Path) -> str:
    first = error.errors(include_url=False, include_context=False)[0]
    if first["type"] == "json_invalid":
        try:
            json.loads(file.read_bytes())
        except (json.JSONDecodeError, UnicodeDecodeError) as broken:
            return str(broken)
    where = ".".join(str(part) for part in first["loc"])
    more = f" (and {error.error_count() - 1:,} more)" if error.error_count() > 1 else ""
    return f"{where or 'the whole'}: {first['msg']}, got {str(first['input'])[:60]}{more}"


def _check_ids(content: CocoFile, file: Path) -> None:
    """Every id once, every reference to something that is there, every file named once."""
    numbers = [one.id for one in content.annotations if one.id is not None]
    for what, ids in (
        ("image ids", [image.id for image in content.images]),
        ("annotation ids", numbers),
        ("category ids", [category.id for category in content.categories]),
        ("file names", [image.file_name for image in content.images]),
    ):
        if twice := _twice(ids):
            raise UserError(
                f"{file} has {len(twice):,} {what} more than once: {_few(twice)}", "each once", "export it again"
            )
    images, categories = {image.id for image in content.images}, {category.id for category in content.categories}
    for what, known, used in (
        ("image_id", images, [one.image_id for one in content.annotations]),
        ("category_id", categories, [one.category_id for one in content.annotations]),
    ):
        if unknown := [value for value in used if value not in known]:
            raise UserError(
                f"{file} has {len(unknown):,} annotations whose {what} is nowhere: {_few(dict.fromkeys(unknown))}",
                f"ids that `{'images' if what == 'image_id' else 'categories'}` lists",
                "add what is missing, or remove these annotations",
            )


def _twice(ids: list) -> list:
    seen, twice = set(), {}
    for one in ids:
        if one in seen:
            twice[one] = None
        seen.add(one)
    return list(twice)


def _few(values: Iterable) -> str:
    values = list(values)
    return ", ".join(str(value) for value in values[:NAMED]) + (" …" if len(values) > NAMED else "")
