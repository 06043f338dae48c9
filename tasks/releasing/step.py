"""One step of a release: what counts now, the evidence, the decision, the change."""

import json
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from tasks.monitoring.alert import alert
from tasks.packaging.champion import fetch_package, whole
from tasks.releasing.change import Made, Taken, change_release, released, releases, settle
from tasks.releasing.status import outcome, write_status
from tasks.run import Run
from tasks.tracking import CHALLENGER, Version, alias_version
from vision.package import open_package
from vision.records import day_number
from vision.release import Release, ReleasedModel, champions, moved
from vision.rollout import Evidence, Step, next_step
from vision.rollout_evidence import weigh, weigh_champion
from vision.rollout_rows import Logs, Rows, read_rows

SALT_BYTES = 8
NO_MODEL = "no model is released yet; make train makes the first"


@task(name="current-release", cache_policy=NO_CACHE, persist_result=False, tags=["registry"])
def current_release(run: Run) -> Release | None:
    """The release that counts, after a step that died was finished; None before the first model."""
    return settle(run)


@task(name="gather-evidence", cache_policy=NO_CACHE, persist_result=False)
def gather_evidence(run: Run, release: Release) -> Evidence:
    """From the service's files alone, so whoever was restarted meanwhile changes nothing."""
    if release.challenger is not None:
        return weigh(release, _rows(run, release, {release.no}), run.config.release)
    before, numbers = _promoted_over(run, release)
    if before is None:
        return Evidence(release_no=release.no)
    return weigh_champion(release, before, _rows(run, release, numbers, labelled=True), run.config.release)


@task(name="decide-release", cache_policy=NO_CACHE, persist_result=False)
def decide(run: Run, release: Release, evidence: Evidence) -> Step:
    """The decision, and its evidence as a table that Prefect shows."""
    waiting = waiting_version(run, release)
    step = next_step(release, evidence, run.config.release, datetime.now(UTC), waiting.version if waiting else None)
    table = [
        {"measure": m.name, "limit": m.limit, "against": m.against, **m.found.model_dump()} for m in evidence.measures
    ]
    create_table_artifact(
        table or [{"measure": "none"}],
        key=f"release-{run.config.system.replace('_', '-')}",
        description=f"release {release.no} ({release.mode}): {step.to}: {'; '.join(step.reasons)}",
    )
    return step


@task(name="take-step", cache_policy=NO_CACHE, persist_result=False, tags=["registry"])
def take_step(run: Run, release: Release, evidence: Evidence, step: Step) -> dict[str, Any]:
    """Makes at most one change. Returns what the command prints (`text`) and what is released now."""
    after = release
    if step.to != "stay":
        weighed = {"reasons": step.reasons, **evidence.model_dump(mode="json")}
        evidence_json = json.loads(json.dumps(weighed))
        made = Made(step=step.to, who="release_model", evidence=evidence_json, at_once=step.to == "rollback")
        try:
            after = change_release(run, _after(run, release, step), made)
        except Taken as taken:
            step = Step(to="stay", reasons=(taken.got,))
    write_status(run, after, evidence, step)
    if step.to == "rollback":
        alert(run, f"release {after.no}: taken back: version {after.champion.version} answers alone", step.reasons)
    return outcome(run, (release, after), evidence, step)


def _after(run: Run, release: Release, step: Step) -> Release:
    """The release that the step leads to. Raises `UserError` or `MachineError` when the package of a new champion or
    challenger is not whole. What answers already is not looked at: to go on with it is always possible.
    """
    reason = f"{step.to}: {'; '.join(step.reasons)}"
    alone = {"challenger": None, "mode": "single", "share": 0.0}
    if step.to == "shadow":
        challenger, salt = opened(run, waiting_version(run, release)), secrets.token_hex(SALT_BYTES)
        return moved(release, reason, challenger=challenger, mode="shadow", share=0.0, salt=salt)
    if step.to == "canary":
        return moved(release, reason, mode="canary", share=run.config.release.canary_share)
    if step.to == "promote":
        return moved(release, reason, champion=whole(run, release.challenger), **alone)
    if release.challenger is not None:
        return moved(release, reason, **alone)
    before, _ = _promoted_over(run, release)
    return moved(release, reason, champion=whole(run, before), **alone)


def opened(run: Run, version: Version) -> ReleasedModel:
    """A registered version whose package is here, whole. Raises `MachineError` when it is not."""
    folder = fetch_package(run, version.version, version.package_sha)
    open_package(folder, version.package_sha)
    return released(run, version.version, version.package_sha)


def waiting_version(run: Run, release: Release) -> Version | None:
    """A challenger by alias that no release has."""
    challenger = alias_version(run.tracker(), CHALLENGER)
    known = {model.package_sha for model in (release.champion, release.challenger) if model is not None}
    return challenger if challenger is not None and challenger.package_sha not in known else None


def _promoted_over(run: Run, release: Release) -> tuple[ReleasedModel | None, set[int]]:
    """The champion before, while the new one is on probation, and the releases in which both answered."""
    rows = releases(run)
    own = next((row for row in rows if row.no == release.no), None)
    late = datetime.now(UTC) - release.at > timedelta(days=run.config.release.max_days)
    if own is None or own.step != "promote" or late:
        return None, set()
    line = champions([row.document for row in rows])
    sha = release.champion.package_sha
    both = {row.no for row in rows if row.document.challenger and row.document.challenger.package_sha == sha}
    return (line[-2] if len(line) > 1 else None), both | {release.no}


def _rows(run: Run, release: Release, numbers: set[int], labelled: bool = False) -> Rows:
    """first day: of the first of these releases, or of now where the clock was set back since."""
    at = min([row.document.at for row in releases(run) if row.no in numbers], default=release.at)
    first_day = min(day_number(at.timestamp()), day_number()) - 1
    state, system = run.state, run.config.system
    logs = Logs(state.records(system), state.failures(system), state.feedback(system))
    return read_rows(logs, numbers, first_day, labelled)
