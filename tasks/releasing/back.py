"""A release taken back because a person says so, whatever the evidence, and while the registry is away too."""

import getpass
import logging
from typing import Any

from tasks.monitoring.alert import alert
from tasks.packaging.champion import fetch_package, whole
from tasks.releasing.change import Made, change_release, known_releases, next_number, released, settle
from tasks.releasing.status import outcome, write_status
from tasks.run import Run
from tasks.tracking import version_sha
from vision.errors import UserError
from vision.machine_faults import redacted
from vision.release import Release, ReleasedModel, champions, moved, read_release
from vision.rollout import Evidence, Step


def roll_back(run: Run, version: int | None) -> dict[str, Any]:
    """version: None for the one before: of a challenger the champion beside it, of a champion its predecessor.

    Call it under the system's release lock. Raises `UserError` when there is nothing to go back to.
    """
    release, registry = _standing(run)
    history = [row.document for row in known_releases(run)]
    if release is None:
        raise UserError(
            f"system {run.config.system!r} has no release",
            "a system with a released model",
            "make train makes the first",
        )
    target = _target(release, history) if version is None else _version(run, history, version, registry)
    _check(run, release, target)
    reason = f"rollback by {_person()}: {run.reason}"
    after = moved(release, reason, no=next_number(run), champion=target, challenger=None, mode="single", share=0.0)
    change_release(run, after, Made(step="rollback", who="rollback_release", registry=registry, at_once=True))
    evidence, step = Evidence(release_no=release.no), Step(to="rollback", reasons=(reason,))
    write_status(run, after, evidence, step)
    alert(run, f"release {after.no}: version {target.version} answers alone", (reason,))
    return outcome(run, (release, after), evidence, step)


def _target(release: Release, history: list[Release]) -> ReleasedModel:
    if release.challenger is not None:
        return release.champion
    line = champions([known for known in history if known.no <= release.no])
    if len(line) < 2:
        raise UserError(
            f"release {release.no}: version {release.champion.version} answers, and no champion was before it",
            "a release with a challenger, or one whose champion followed another",
            "name a registered version: make rollback TO=<version>",
        )
    return line[-2]


def _version(run: Run, history: list[Release], version: int, registry: bool) -> ReleasedModel:
    """By number: one that was released, else one that the registry knows."""
    for release in reversed(history):
        for model in (release.champion, release.challenger):
            if model is not None and model.version == version:
                return model
    sha = version_sha(run.tracker(), version) if registry else None
    if sha is None:
        raise UserError(
            f"version {version} of {run.config.system}",
            "a version that was released, or that the registry knows" + ("" if registry else " (it is away now)"),
            "look at the versions in MLflow",
        )
    fetch_package(run, version, sha)
    return released(run, version, sha)


def _check(run: Run, release: Release, target: ReleasedModel) -> None:
    """Raises `UserError` where nothing would change, `MachineError` where the package isn't whole."""
    if release.challenger is None and target.package_sha == release.champion.package_sha:
        raise UserError(
            f"release {release.no}: version {target.version} answers already",
            "another version",
            "nothing is to be done",
        )
    whole(run, target)


def _standing(run: Run) -> tuple[Release | None, bool]:
    """The release that serves, and whether the registry can be told of another: whatever ails it keeps nobody from going back."""
    try:
        return settle(run), True
    except UserError:
        raise
    except Exception as error:
        why = redacted(str(getattr(error, "got", error)))
        logging.getLogger(__name__).warning("%s; the release goes back all the same, aliases follow later", why)
        return read_release(run.release_file), False


def _person() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "an unknown user"
