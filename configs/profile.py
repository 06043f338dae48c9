"""What the tuner measured on one device for one package: settings of the service that a system's YAML can't know."""

import platform
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from configs.paths import StatePaths
from vision.errors import UserError
from vision.settings import Section

CPU_INFO = Path("/proc/cpuinfo")


class ServingProfile(Section):
    """Goes before the package's own settings; the environment goes before it. measured: what the choice rests on."""

    device: str
    package_sha: str
    engine: str | None = None
    """That was measured: another one (a GPU's, on the same processor) wants other settings. None in older profiles."""
    workers: Annotated[int, Field(ge=1)]
    threads: Annotated[int, Field(ge=1)]
    max_batch: Annotated[int, Field(ge=1, le=256)]
    max_queue: Annotated[int, Field(ge=1, le=4096)]
    int8: bool = False
    """INT8 was the fastest here; else the package's own precision stays."""
    measured: tuple[dict[str, float], ...] = ()

    @property
    def serving(self) -> dict[str, Any]:
        precision = {"precision": "int8"} if self.int8 else {}
        return self.model_dump(include={"workers", "threads", "max_batch", "max_queue"}) | precision


def device_name(cores: int) -> str:
    """The processor and how much of it may be used, as a folder's name: `amd-epyc-9b14-2-cores`."""
    model = ""
    if CPU_INFO.is_file():
        found = re.search(r"^model name\s*:\s*(.+)$", CPU_INFO.read_text(), re.MULTILINE)
        model = found.group(1) if found else ""
    words = re.sub(r"[^a-z0-9]+", "-", (model or platform.processor() or platform.machine()).lower()).strip("-")
    return f"{words}-{cores}-cores"


def read_profile(state: Path, device: str, package_sha: str) -> ServingProfile | None:
    """None where this device was not measured for this package. Raises `UserError` for a damaged file."""
    path = StatePaths(state).profile(device, package_sha)
    if not path.is_file():
        return None
    try:
        return ServingProfile.model_validate_json(path.read_text())
    except ValidationError as error:
        raise UserError(
            f"{path}: {error.errors()[0]['msg']}",
            "a profile as `make tune-serving` writes it",
            "remove it, or tune again",
        ) from None


def write_profile(state: Path, profile: ServingProfile) -> Path:
    path = StatePaths(state).profile(profile.device, profile.package_sha)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(profile.model_dump_json(indent=1))
    return partial.replace(path)
