"""The package that a registry alias points to, opened and checked."""

import shutil
from pathlib import Path

from filelock import FileLock

from tasks.run import Run
from tasks.tracking import CHAMPION, alias_version
from vision.errors import ClearError, MachineError
from vision.package import Package, open_package
from vision.release import ReleasedModel, package_folder
from vision.settings import Section


class RegisteredPackage(Section):
    version: int
    package: Package


def open_champion(run: Run) -> RegisteredPackage | None:
    """The champion's package, None while the system has no champion. Raises `MachineError` when it is damaged."""
    version = alias_version(run.tracker(), CHAMPION)
    if version is None:
        return None
    folder = fetch_package(run, version.version, version.package_sha)
    return RegisteredPackage(version=version.version, package=open_package(folder, version.package_sha))


def whole(run: Run, model: ReleasedModel) -> ReleasedModel:
    """The same model, whose package is here unchanged, fetched where it is gone: no service could take up another.

    Raises `UserError` or `MachineError` where it is damaged, or not to be had.
    """
    folder = package_folder(run.release_file, model)
    if not folder.is_dir():
        folder = fetch_package(run, model.version, model.package_sha)
    open_package(folder, model.package_sha)
    return model


def fetch_package(run: Run, version: int, package_sha: str) -> Path:
    """The package's folder in the state folder, brought from the registry's artifacts when it isn't there."""
    folder = run.packages / package_sha
    if folder.is_dir():
        return folder
    run.packages.mkdir(parents=True, exist_ok=True)
    partial = run.packages / f".partial-{package_sha}"
    with FileLock(run.folder / "packages.lock"):
        if not folder.is_dir():
            shutil.rmtree(partial, ignore_errors=True)  # a killed download's
            partial.mkdir()
            try:
                _download(run, version, package_sha, partial).rename(folder)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    return folder


def _download(run: Run, version: int, package_sha: str, partial: Path) -> Path:
    """The package's checked files in `partial`. A registry whose artifacts are gone may give an empty folder."""
    import mlflow

    try:
        got = mlflow.artifacts.download_artifacts(
            f"models:/{run.config.system}/{version}", dst_path=str(partial), tracking_uri=run.tracking_uri
        )
        return open_package(Path(got), package_sha).folder
    except (mlflow.exceptions.MlflowException, OSError, ClearError) as error:
        why = error.got if isinstance(error, ClearError) else error
        raise MachineError(
            f"version {version} of {run.config.system} is neither in {run.packages / package_sha} nor whole in the "
            f"registry: {why}",
            "a registered version whose package can be read",
            "restore the registry's artifacts, or train again",
        ) from None
