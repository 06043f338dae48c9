"""A state folder for a device: one encrypted package and a release that points to it."""

from pathlib import Path

from configs.paths import StatePaths
from vision.encrypted import SUFFIX, encrypt_package
from vision.errors import UserError
from vision.package import Package
from vision.release import Release, ReleasedModel, first_release, moved, read_release, write_release


def write_device(package: Package, version: int, system: str, to: Path, key: bytes) -> Path:
    """Adds the package to the state folder `to`, made if need be, and releases it there. Returns the encrypted file.

    The release comes last: until then a device that has the folder goes on with what it had. Raises `UserError` for a
    folder in which a system is served unencrypted.
    """
    paths = StatePaths(to)
    before = read_release(paths.release(system))
    if before is not None and not before.champion.uri.endswith(SUFFIX):
        raise UserError(
            f"TO={to} is a state folder whose system {system!r} is not for a device",
            "a new folder, or one that make encrypt wrote before",
            "choose another TO",
        )
    file = paths.packages(system) / f"{package.package_sha}{SUFFIX}"
    file.parent.mkdir(parents=True, exist_ok=True)
    encrypt_package(package, file, key)
    uri = file.relative_to(paths.system(system)).as_posix()
    write_release(
        paths.release(system),
        _release(before, ReleasedModel(version=version, package_sha=package.package_sha, uri=uri)),
    )
    return file


def _release(before: Release | None, champion: ReleasedModel) -> Release:
    reason = "encrypted for a device"
    return first_release(champion, reason) if before is None else moved(before, reason, champion=champion)
