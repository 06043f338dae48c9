"""A registry that lost its champion while a release still names it: the released package becomes its champion again.

So a wiped `mlflow.db`, or another `VISIONOPS_MLFLOW_URI`, never lets a new model take the place of the one that serves
without having met it.
"""

import json
import logging
from datetime import UTC, datetime

from tasks.audit import write_audit
from tasks.releasing.table import add_release, release_row
from tasks.run import Run
from tasks.tracking import CHAMPION, Tracker, alias_version, register_version
from vision.errors import ClearError, MachineError
from vision.package import Package, open_package
from vision.release import Release, package_folder, read_release, write_release

TAGS = ("dvc_md5", "split_sha", "config_sha", "git_commit", "git_dirty")


def restore_champion(run: Run) -> None:
    """Does nothing while the registry has a champion, or nothing was released.

    Raises `MachineError` when the released package is gone as well.
    """
    tracker, release = run.tracker(), read_release(run.release_file)
    if release is None or alias_version(tracker, CHAMPION) is not None:
        return
    _make_champion(run, tracker, release, register_again(tracker, _released(run, release)))


def register_again(tracker: Tracker, package: Package) -> int:
    """The version of a package that this registry does not know (any more); its number may be another than before."""
    run_id = tracker.open_run(package.package_sha, f"{package.spec.arch}_released", {"restored": "from release.json"})
    tracker.log_folder(run_id, package.folder, f"package/{package.package_sha}")
    lineage = json.loads((package.folder / "lineage.json").read_text())
    tags = {name: str(lineage[name]) for name in TAGS if name in lineage}
    version = register_version(tracker, run_id, package.package_sha, tags).version
    tracker.close_run(run_id)
    return version


def _released(run: Run, release: Release) -> Package:
    model = release.champion
    try:
        return open_package(package_folder(run.release_file, model), model.package_sha)
    except ClearError as error:
        raise MachineError(
            f"{run.release_file} names version {model.version} as champion, the registry has none, and {error.got}",
            "a registry that knows the released version, or its whole package in the state folder",
            "restore the registry (mlflow.db, or VISIONOPS_MLFLOW_URI); to begin anew, move release.json away",
        ) from None


def _make_champion(run: Run, tracker: Tracker, release: Release, version: int) -> None:
    """Audit row, release file, alias: the alias last, because a restoration that was killed is begun again without it.

    The version's number in this registry may be another than in the release.
    """
    why = f"the registry had no champion; release {release.no} names this package as version {release.champion.version}"
    logging.getLogger(__name__).warning("%s: version %s is champion again: %s", tracker.system, version, why)
    champion = release.champion.model_copy(update={"version": version})
    row = {"system": tracker.system, "what": f"alias:{CHAMPION}", "version": version, "who": "train_model", "why": why}
    audit = row | {"package_sha": champion.package_sha}
    if version == release.champion.version:
        write_audit(run.database_url, audit)
    else:
        fresh = {"no": release.no + 1, "champion": champion, "reason": "registry restored", "at": datetime.now(UTC)}
        alone = {"challenger": None, "mode": "single", "share": 0.0}  # a challenger's number is of the old registry
        release = release.model_copy(update=fresh | alone)
        add_release(run.database_url, release_row(release, tracker.system, "restored", "train_model", {}), [audit])
        write_release(run.release_file, release)
    tracker.client.set_registered_model_alias(tracker.system, CHAMPION, str(version))
