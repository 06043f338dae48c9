"""The release: which package serves a system, and which one it is compared with. One small numbered file."""

import hashlib
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from filelock import FileLock
from pydantic import Field, ValidationError, model_validator

from vision.errors import UserError
from vision.settings import Section

RELEASE = "release.json"
LOCK_TIMEOUT_S = 30
STICKY_BITS = 256


class ReleasedModel(Section):
    """A registered version and where its package lies. A relative `uri` starts at the folder of the release file."""

    version: Annotated[int, Field(ge=1)]
    package_sha: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    uri: str


class Release(Section):
    """What a service acts on. `share`: part of the clients that a canary answers; `salt` decides which ones."""

    no: Annotated[int, Field(ge=0)]
    champion: ReleasedModel
    challenger: ReleasedModel | None = None
    mode: Literal["single", "shadow", "canary"] = "single"
    share: Annotated[float, Field(ge=0, le=1)] = 0.0
    salt: str = ""
    reason: str
    at: datetime

    @model_validator(mode="after")
    def challenger_goes_with_mode(self):
        if (self.mode == "single") != (self.challenger is None):
            raise ValueError("`challenger` is given exactly when `mode` is shadow or canary")
        return self


def first_release(champion: ReleasedModel, reason: str) -> Release:
    """Release 0: one package, nothing beside it."""
    return Release(no=0, champion=champion, reason=reason, at=datetime.now(UTC))


def moved(release: Release, reason: str, **changes: Any) -> Release:
    """The release after this one: the next number, now, and the changes. Raises `ValueError` where they don't fit."""
    values = release.model_dump() | {"no": release.no + 1, "reason": reason, "at": datetime.now(UTC)} | changes
    return Release.model_validate(values)


def champions(history: Sequence[Release]) -> tuple[ReleasedModel, ...]:
    """The champions that led to the one of the last release, which is the last of them; each package once.

    history: in order of their numbers. Whoever was gone back from isn't among them, so going back twice leads to the
    one before, not to the one that was left.
    """
    line: list[ReleasedModel] = []
    for release in history:
        shas = [model.package_sha for model in line]
        if release.champion.package_sha in shas:
            del line[shas.index(release.champion.package_sha) :]
        line.append(release.champion)
    return tuple(line)


def sticky_number(salt: str, client: str) -> int:
    """Where a client stands among all: from 0 to 2^256, evenly. client: key id, or what the image is known by."""
    return int.from_bytes(hashlib.sha256((salt + client).encode()).digest(), "big")


def sticky_below(share: float) -> int:
    """Clients whose `sticky_number` is below this are `share` of all."""
    return int(share * (1 << STICKY_BITS))


def package_folder(release_file: Path, model: ReleasedModel) -> Path:
    """Where the package of `model` lies. Local folders only."""
    return release_file.parent / model.uri


def read_release(path: Path) -> Release | None:
    """The release in `path`, or None where there is none yet. Raises `UserError` when the file can't be understood."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return None
    try:
        return Release.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(
            f"{path}: {where}: {first['msg']}",
            "a release as `make release` writes it",
            "restore the file, or remove it: `make release` writes it again from state.db",
        ) from None


def write_release(path: Path, release: Release) -> None:
    """Replaces the release file in one step, under its lock; the folder is made if need be.

    Raises `UserError` when a release with this number or a later one is there already: someone else was first.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock", timeout=LOCK_TIMEOUT_S):
        current = read_release(path)
        if current is not None and current.no >= release.no:
            raise UserError(
                f"release {release.no} of {path} comes after release {current.no}",
                f"a number above {current.no}",
                "read the release again and decide anew",
            )
        partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        with partial.open("w") as file:
            file.write(release.model_dump_json(indent=1))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
