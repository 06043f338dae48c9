"""Registers a package that passed its gate. Safe to run again after a kill: one package is one version."""

import logging

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.alert import alert
from tasks.audit import read_audit, write_audit
from tasks.run import Run
from tasks.stages import StageResult
from tasks.tracking import CHALLENGER, CHAMPION, Tracker, Version, alias_version, find_version, register_version
from tasks.trained import Trained
from vision.lineage import sha256_json
from vision.package import open_package
from vision.release import ReleasedModel, first_release, read_release, write_release
from vision.settings import Section
from vision.verdict import Verdict

FIRST_MODEL = "first_model"


class Alias(Section):
    """What a version is now: `alias` champion, challenger or None, and why."""

    version: int
    alias: str | None
    reason: str
    passed: bool = True


@task(name="register", cache_policy=NO_CACHE, persist_result=False, tags=["registry"])
def register(run: Run, trained: Trained, package: StageResult, gate: StageResult) -> Version:
    """A version with lineage tags and its files, still without an alias. Raises `MachineError` for a damaged package."""
    tracker, sha = run.tracker(), package.made["package_sha"]
    run_id = trained.model.made["run_id"]
    version = find_version(tracker, sha)
    if version is None:
        open_package(run.packages / sha, sha)
        # By its hash: one training may make several packages (other cards, another gate), each a version of its own.
        tracker.log_folder(run_id, run.packages / sha, f"package/{sha}")
        tracker.log_folder(run_id, trained.evaluation.folder, "evaluation")
        tracker.log_folder(run_id, gate.folder, "gate")
        tracker.log_metrics(run_id, {f"test_{k}": v for k, v in package.made["metrics"].items() if v is not None})
        version = register_version(tracker, run_id, sha, _tags(run, trained, package))
    # Also for a version that was found: the process that made it may have been killed before this.
    tracker.client.set_tag(run_id, "mlflow.runName", f"{run.config.model.arch}_v{version.version}")
    return version


@task(name="assign_alias", cache_policy=NO_CACHE, persist_result=False, tags=["registry"])
def assign_alias(run: Run, version: Version, smoke: StageResult) -> Alias:
    """Champion for a first model, challenger for a later one; none when its bento doesn't answer as the package."""
    verdict = Verdict.model_validate(smoke.made["verdict"])
    if not verdict.passed:
        alert(run, f"version {version.version}: its bento failed the smoke test", verdict.reasons)
        return Alias(version=version.version, alias=None, passed=False, reason="smoke test failed")
    alias, reason = _set_alias(run, run.tracker(), version)
    return Alias(version=version.version, alias=alias, reason=reason)


def _tags(run: Run, trained: Trained, package: StageResult) -> dict[str, str]:
    return {
        "stage_key": package.key,
        "semver": run.config.semver,
        "dvc_md5": trained.dataset.dvc_md5,
        "split_sha": trained.splits.made["split_sha"],
        "config_sha": run.config_sha,
        "contract_sha": sha256_json(trained.contract.made["verdict"]),
        **run.git_tags(),
    }


def _set_alias(run: Run, tracker: Tracker, version: Version) -> tuple[str | None, str]:
    """Audit row, alias, release file, in this order; a run after a crash, of whichever version, makes what is missing."""
    champion = alias_version(tracker, CHAMPION)
    if champion is None:
        _audit(run, version, CHAMPION, FIRST_MODEL)
        tracker.client.set_registered_model_alias(tracker.system, CHAMPION, str(version.version))
        _release(run, version)
        return CHAMPION, FIRST_MODEL
    if read_release(run.release_file) is None:
        logging.getLogger(__name__).warning("no release file beside a champion: written again")
        _release(run, champion)
    if champion.version == version.version:
        return CHAMPION, "already champion"
    challenger = alias_version(tracker, CHALLENGER)
    if version.version < champion.version or (challenger and challenger.version >= version.version):
        return (CHALLENGER if challenger and challenger.version == version.version else None), "already registered"
    _audit(run, version, CHALLENGER, f"passed its gate; champion is version {champion.version}; reason {run.reason}")
    tracker.client.set_registered_model_alias(tracker.system, CHALLENGER, str(version.version))
    return CHALLENGER, "passed its gate"


def _release(run: Run, champion: Version) -> None:
    """Release 0, where there is none yet."""
    if read_release(run.release_file) is None:
        uri = run.packages.relative_to(run.folder) / champion.package_sha
        model = ReleasedModel(version=champion.version, package_sha=champion.package_sha, uri=uri.as_posix())
        write_release(run.release_file, first_release(model, FIRST_MODEL))


def _audit(run: Run, version: Version, alias: str, why: str) -> None:
    """One row a change: a process that was killed between row and alias has written it already."""
    row = {
        "system": run.config.system, "what": f"alias:{alias}", "version": version.version,
        "package_sha": version.package_sha, "who": "train_model", "why": why,
    }  # fmt: skip
    last = [old for old in read_audit(run.database_url, row["system"]) if old["what"] == row["what"]][-1:]
    if not last or any(last[0][name] != row[name] for name in ("version", "package_sha")):
        write_audit(run.database_url, row)
