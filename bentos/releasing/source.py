"""Which package this server answers with: the released one of its state folder, else the one that its bento carries."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from bentos.releasing.plain import served_folder
from bentos.resources import cores, engine_name
from configs.load import environment_overrides, settings
from configs.paths import StatePaths
from configs.profile import ServingProfile, device_name, read_profile
from configs.serving import ServingConfig
from configs.yaml_files import Layer, merged
from vision.errors import UserError
from vision.package import Card, Package, open_package
from vision.release import RELEASE, Release, ReleasedModel, read_release

BENTO_PACKAGE = "package"
GONE = {"features_per_s"}
"""Settings of older packages that have no meaning any more (`features_share` came in its place). In the environment or in a
system's YAML they are a mistake, and said so."""
CONFIG = "config.yaml"


@dataclass(frozen=True)
class Served:
    """All that an answer is made from, but the engine. model: which one of the release this is."""

    package: Package
    system: str
    title: str
    serving: ServingConfig
    release: Release
    model: ReleasedModel
    cards: dict[str, Card]


def find_served() -> Served:
    """Opens and checks the package. Raises `UserError` when there is none yet, or it is damaged."""
    return open_served(find_release_file())


def find_release_file() -> Path:
    return present_release(release_files())


def release_files() -> tuple[Path, ...]:
    """Where a release may stand, best first: the state folder's, and in a bento its own, which is always there.

    So an image follows the releases of a state folder as soon as that has one for its system, and without one it
    answers with the package that it carries.
    """
    state, carried = StatePaths(state_folder()), _carried()
    if carried is None:
        return (state.release(settings().system),)
    return state.release(yaml.safe_load((carried / CONFIG).read_text())["system"]), carried.parent / RELEASE


def state_folder() -> Path:
    """Where the service reads its releases and keys and writes its records.

    BentoML starts a bento inside the bento's own folder, and whoever exports that takes along all that lies there. So
    a bento that isn't told an absolute VISIONOPS_STATE has its state in the user's home.
    """
    state = settings().state
    if state.is_absolute() or _carried() is None:
        return state.absolute()
    try:
        return Path.home() / state
    except RuntimeError:  # A container's user who isn't known there.
        return Path(tempfile.gettempdir()) / state


def _carried() -> Path | None:
    """The package folder of the bento that this code lies in; None in the project."""
    folder = Path(__file__).resolve().parents[2] / BENTO_PACKAGE
    return folder if folder.is_dir() else None


def present_release(files: tuple[Path, ...]) -> Path:
    """The first that is there; the last one where none is."""
    return next((path for path in files if path.is_file()), files[-1])


def open_served(release_file: Path) -> Served:
    """The champion of a release file. Raises `UserError` where there is none, or its package is not what it says."""
    release = released(release_file)
    return open_model(release_file, release, release.champion)


def open_model(release_file: Path, release: Release, model: ReleasedModel) -> Served:
    """One of the release's two models. Raises `UserError` where its package is not what the release says."""
    package = open_package(served_folder(release_file, model), model.package_sha)
    config = yaml.safe_load((package.folder / CONFIG).read_text())
    return Served(
        package=package,
        system=config["system"],
        title=config["title"],
        serving=_serving(config, package.folder / CONFIG, package.package_sha),
        release=release,
        model=model,
        cards=_cards(package.folder),
    )


def find_serving() -> ServingConfig:
    """The settings alone, without a look at the package's other files. Raises `UserError` like `find_served`."""
    return read_serving(find_release_file())[1]


def read_serving(release_file: Path) -> tuple[str, ServingConfig]:
    """The system that is released there, and its settings. Raises `UserError` like `find_served`."""
    champion = released(release_file).champion
    path = served_folder(release_file, champion) / CONFIG
    if not path.is_file():
        raise UserError(f"{path} is not there", "a whole package", "fetch it again from the registry")
    config = yaml.safe_load(path.read_text())
    return config["system"], _serving(config, path, champion.package_sha)


def released(release_file: Path) -> Release:
    """Raises `UserError` where there is no release yet, or it can't be understood."""
    release = read_release(release_file)
    if release is None:
        system = release_file.parent.name
        raise UserError(
            f"system {system!r} has no champion yet ({release_file} is not there)",
            "a system with a released model; VISIONOPS_SYSTEM names the system, VISIONOPS_STATE the state folder",
            f"make train SYSTEM={system}",
        )
    return release


def _serving(config: dict[str, Any], path: Path, package_sha: str) -> ServingConfig:
    """The environment over what was measured on this device over the package's own. Only this section: a package of
    last year must be servable though training's settings have changed since."""
    own = {name: value for name, value in config.get("serving", {}).items() if name not in GONE}
    here = environment_overrides().get("serving", {})
    profile = read_profile(state_folder(), device_name(cores()), package_sha)
    measured = profile.serving if profile and _measured_engine(profile, {**own, **here}) else {}
    layers = [Layer("environment", here), Layer("profile", measured), Layer(str(path), own)]
    try:
        return ServingConfig.model_validate(merged(layers))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        where = "environment (VISIONOPS__SERVING__…)" if first["loc"] and first["loc"][0] in here else path
        raise UserError(
            f"{where}: serving.{field}: {first['msg']}",
            "settings that this version of the service knows",
            "correct the variable, or export the model again (make export), or serve it with the version that made it",
        ) from None


def _measured_engine(profile: ServingProfile, asked: dict[str, Any]) -> bool:
    """Is what was measured the engine that will run?"""
    wanted = ServingConfig.model_construct(engine=asked.get("engine", "auto"))
    return profile.engine in (None, engine_name(wanted))


def _cards(folder: Path) -> dict[str, Card]:
    path = folder / "cards.yaml"
    raw = (yaml.safe_load(path.read_text()) or {}) if path.is_file() else {}
    return {label: Card.model_validate(card) for label, card in raw.items()}
