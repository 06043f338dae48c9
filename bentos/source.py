"""Which package this server answers with: the one inside the bento, else the champion of VISIONOPS_SYSTEM."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from configs.load import settings
from configs.paths import StatePaths
from configs.serving import ServingConfig
from vision.errors import UserError
from vision.package import Card, Package, open_package
from vision.release import RELEASE, Release, package_folder, read_release

BENTO_PACKAGE = "package"


@dataclass(frozen=True)
class Served:
    """All that an answer is made from, but the engine."""

    package: Package
    system: str
    serving: ServingConfig
    release: Release
    cards: dict[str, Card]


def find_served() -> Served:
    """Opens and checks the package. Raises `UserError` when there is none yet, or it is damaged."""
    return open_served(find_release_file())


def find_release_file() -> Path:
    """The bento's own release file where the code lies in a bento, else the one of the state folder."""
    root = Path(__file__).resolve().parent.parent
    if (root / BENTO_PACKAGE).is_dir():
        return root / RELEASE
    env = settings()
    return StatePaths(env.state).release(env.system)


def open_served(release_file: Path) -> Served:
    """The champion of a release file. Raises `UserError` where there is none, or its package is not what it says."""
    release = read_release(release_file)
    if release is None:
        system = release_file.parent.name
        raise UserError(
            f"system {system!r} has no champion yet ({release_file} is not there)",
            "a system with a released model; VISIONOPS_SYSTEM names the system, VISIONOPS_STATE the state folder",
            f"make train SYSTEM={system}",
        )
    package = open_package(package_folder(release_file, release.champion), release.champion.package_sha)
    config = yaml.safe_load((package.folder / "config.yaml").read_text())
    return Served(
        package=package,
        system=config["system"],
        serving=_serving(config, package.folder),
        release=release,
        cards=_cards(package.folder),
    )


def _serving(config: dict[str, Any], folder: Path) -> ServingConfig:
    """Only this section: a package of last year must be servable though training's settings have changed since."""
    try:
        return ServingConfig.model_validate(config.get("serving", {}))
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(
            f"{folder / 'config.yaml'}: serving.{'.'.join(map(str, first['loc']))}: {first['msg']}",
            "settings that this version of the service knows",
            "export the model again (make export), or serve it with the version that made it",
        ) from None


def _cards(folder: Path) -> dict[str, Card]:
    path = folder / "cards.yaml"
    raw = (yaml.safe_load(path.read_text()) or {}) if path.is_file() else {}
    return {label: Card.model_validate(card) for label, card in raw.items()}
