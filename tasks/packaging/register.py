"""Registers a package that passed its gate. Safe to run again after a kill: one package is one version."""

from itertools import pairwise

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.audit import read_audit, write_audit
from tasks.monitoring.alert import alert
from tasks.releasing.change import Made, change_release, next_number, released, releases, settle
from tasks.run import Run
from tasks.stages import StageResult
from tasks.tracking import CHALLENGER, CHAMPION, Tracker, Version, alias_version, find_version, register_version
from tasks.training.trained import Trained
from vision.lineage import sha256_json
from vision.package import open_package
from vision.release import first_release
from vision.settings import Section
from vision.verdict import Verdict

FIRST_MODEL = "first_model"


class Alias(Section):
    """What a version is now: `alias` champion, challenger or None, and why."""

    version: int
    alias: str | None
    reason: str
    passed: bool = True
    answered: str = ""
    """What its bento said to the golden images."""


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
    with run.single_flight("release"):
        alias, reason = _set_alias(run, run.tracker(), version)
    return Alias(version=version.version, alias=alias, reason=reason, answered="; ".join(verdict.reasons))


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
    """A run after a crash, of whichever version, makes what is missing."""
    released_now, champion = settle(run), alias_version(tracker, CHAMPION)
    if champion is None or released_now is None:
        _release_first(run, champion or version)
    if champion is None:
        return CHAMPION, FIRST_MODEL
    if champion.version == version.version:
        return CHAMPION, "already champion"
    refusal = _refused(run, version)
    if refusal is not None:
        return None, refusal
    challenger = alias_version(tracker, CHALLENGER)
    if version.version < champion.version or (challenger and challenger.version >= version.version):
        return (CHALLENGER if challenger and challenger.version == version.version else None), "already registered"
    _audit(run, version, CHALLENGER, f"passed its gate; champion is version {champion.version}; reason {run.reason}")
    tracker.client.set_registered_model_alias(tracker.system, CHALLENGER, str(version.version))
    return CHALLENGER, "passed its gate"


def _release_first(run: Run, champion: Version) -> None:
    """Where no release is: one package, nothing beside it."""
    model = released(run, champion.version, champion.package_sha)
    first = first_release(model, FIRST_MODEL).model_copy(update={"no": next_number(run)})
    change_release(run, first, Made(step="first", who="train_model"))


def _refused(run: Run, version: Version) -> str | None:
    """A package that was taken back once doesn't come again by itself, however often it is trained."""
    for before, row in pairwise(releases(run)):
        left = before.document.challenger or before.document.champion
        if row.step == "rollback" and left.package_sha == version.package_sha:
            return f"was taken back in release {row.no}: {row.document.reason}"
    return None


def _audit(run: Run, version: Version, alias: str, why: str) -> None:
    """One row a change: a process that was killed between row and alias has written it already."""
    row = {
        "system": run.config.system, "what": f"alias:{alias}", "version": version.version,
        "package_sha": version.package_sha, "who": "train_model", "why": why,
    }  # fmt: skip
    last = [old for old in read_audit(run.database_url, row["system"]) if old["what"] == row["what"]][-1:]
    if not last or any(last[0][name] != row[name] for name in ("version", "package_sha")):
        write_audit(run.database_url, row)
