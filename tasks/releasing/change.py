"""The one way in which a release changes: rows, then aliases, then the file; a step that died is finished by the next.

The row of a release (`tasks/releasing/table.py`) is the intention: its number is taken once, so of two who want a change
one makes it. Aliases follow, then `release.json`, which is what services act on. `settle` compares the three.
"""

import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from tasks.audit import write_audit
from tasks.releasing.restore import register_again, restore_champion
from tasks.releasing.table import Move, ReleaseRow, Taken, add_evidence, add_release, read_releases, release_row
from tasks.run import Run
from tasks.tracking import CHALLENGER, CHAMPION, Tracker, alias_version, version_sha
from vision.errors import UserError
from vision.machine_faults import redacted
from vision.package import open_package
from vision.release import Release, ReleasedModel, package_folder, read_release, write_release

log = logging.getLogger(__name__)
REGISTRY, AWAY, TOLD = "registry", "away", "told later"
"""In the evidence of a release that was made without the registry, and what becomes of it."""


@dataclass(frozen=True)
class Made:
    """By whom a release is made, by which step, and on which evidence (JSON-able).

    registry: False while it is away: aliases follow with the next step. at_once: so do those that it fails to move now.
    """

    step: Move
    who: str
    evidence: dict[str, Any] = field(default_factory=dict)
    registry: bool = True
    at_once: bool = False


def change_release(run: Run, release: Release, made: Made) -> Release:
    """Makes `release` the one that counts. Raises `Taken` when its number is somebody else's, else what fails."""
    tracker, before = _registry(run, made), read_release(run.release_file)
    evidence = made.evidence if tracker is not None else {**made.evidence, REGISTRY: AWAY}
    row = release_row(release, run.config.system, made.step, made.who, evidence)
    add_release(run.database_url, row, _audit_rows(row, before))
    if tracker is not None:
        try:
            _move_aliases(run, tracker, (before, release))
        except Exception as error:
            if not made.at_once:
                raise
            log.warning("release %d counts, its aliases follow later: %s", release.no, redacted(str(error)))
            add_evidence(run.database_url, row, {REGISTRY: AWAY})
    _write(run, release)
    return release


def _registry(run: Run, made: Made) -> Tracker | None:
    """None where the change goes on without it. Raises what the registry raises where it may not."""
    if not made.registry:
        return None
    try:
        return run.tracker()
    except Exception:
        if not made.at_once:
            raise
        return None


def settle(run: Run) -> Release | None:
    """The release that counts, once rows, aliases and file say the same; None where there is none yet.

    Raises `MachineError` when the registry has lost the champion and its package is gone as well.
    """
    tracker = run.tracker()
    rows, release = known_releases(run), read_release(run.release_file)
    if rows and (release is None or release.no < rows[-1].no):
        release = _finish(run, tracker, rows)
    if release is None:
        return None
    _tell_later(run, tracker, rows)
    restore_champion(run)
    release = read_release(run.release_file)
    _set_right(run, tracker, release)
    return release


def known_releases(run: Run) -> tuple[ReleaseRow, ...]:
    """All rows; a release file that has none (of before there were rows, or of a lost `state.db`) gets one."""
    rows, release = releases(run), read_release(run.release_file)
    if release is None or (rows and rows[-1].no >= release.no):
        return rows
    with contextlib.suppress(Taken):
        add_release(run.database_url, release_row(release, run.config.system, "found", "release.json", {}))
    return releases(run)


def releases(run: Run) -> tuple[ReleaseRow, ...]:
    return read_releases(run.database_url, run.config.system)


def next_number(run: Run) -> int:
    """Of the release to come: numbers are used once, also when the file was taken away to begin anew."""
    rows, release = releases(run), read_release(run.release_file)
    return max(rows[-1].no if rows else -1, release.no if release else -1) + 1


def released(run: Run, version: int, package_sha: str) -> ReleasedModel:
    uri = run.packages.relative_to(run.folder) / package_sha
    return ReleasedModel(version=version, package_sha=package_sha, uri=uri.as_posix())


def _finish(run: Run, tracker: Tracker, rows: Sequence[ReleaseRow]) -> Release | None:
    """What a step did not come to. A file that was taken away comes back, unless the registry was wiped as well."""
    last = rows[-1].document
    known = version_sha(tracker, last.champion.version) == last.champion.package_sha
    if not known and read_release(run.release_file) is None:
        return None
    log.warning("release %d was begun (%s) and not finished: finished now", last.no, rows[-1].step)
    if known:
        _move_aliases(run, tracker, [row.document for row in rows[_told_until(rows) - 1 :]])
    _write(run, last)
    return last


def _write(run: Run, release: Release) -> None:
    """May be done already, by someone else."""
    try:
        write_release(run.release_file, release)
    except UserError:
        now = read_release(run.release_file)
        if now is None or now.no < release.no:
            raise


def _tell_later(run: Run, tracker: Tracker, rows: Sequence[ReleaseRow]) -> None:
    """The aliases of the last releases that were made without the registry. Once: they may be moved again since."""
    late = list(takewhile(lambda row: row.evidence.get(REGISTRY) == AWAY, reversed(rows)))
    if late:
        _move_aliases(run, tracker, [row.document for row in rows[_told_until(rows) - 1 :]])
    for row in late:
        add_evidence(run.database_url, row, {REGISTRY: TOLD})


def _told_until(rows: Sequence[ReleaseRow]) -> int:
    """Index of the first release whose aliases may not have been moved, at least 1: of the last one, or of the first in a
    row made without the registry and the one before, which may have been cut short by what took the registry away.
    """
    late = len(list(takewhile(lambda row: row.evidence.get(REGISTRY) == AWAY, reversed(rows))))
    return max(1, len(rows) - 1 - late)


def _move_aliases(run: Run, tracker: Tracker, change: Sequence[Release | None]) -> None:
    """change: the releases that led from what the registry knows to the one that counts, which is the last of them."""
    _set_champion(run, tracker, change[-1].champion)
    gone, challenger = _withdrawn(change), alias_version(tracker, CHALLENGER)
    if challenger is not None and challenger.package_sha in gone:
        tracker.client.delete_registered_model_alias(tracker.system, CHALLENGER)


def _withdrawn(change: Sequence[Release | None]) -> set[str]:
    """Packages that are no challenger any more: those of these releases, and who is champion now."""
    after = change[-1]
    was = {release.challenger.package_sha for release in change if release is not None and release.challenger}
    return (was | {after.champion.package_sha}) - {after.challenger.package_sha if after.challenger else ""}


def withdrawn(before: Release | None, after: Release) -> ReleasedModel | None:
    """The challenger that was taken back by this change."""
    left = before.challenger if before else None
    stays = {after.champion.package_sha, after.challenger.package_sha if after.challenger else None}
    return left if left is not None and left.package_sha not in stays else None


def _set_champion(run: Run, tracker: Tracker, model: ReleasedModel) -> None:
    """A version that was deleted from the registry, or lost with it, is registered again."""
    champion = alias_version(tracker, CHAMPION)
    if champion is not None and champion.package_sha == model.package_sha:
        return
    version = model.version
    if version_sha(tracker, version) != model.package_sha:
        version = register_again(tracker, open_package(package_folder(run.release_file, model), model.package_sha))
    tracker.client.set_registered_model_alias(tracker.system, CHAMPION, str(version))


def _set_right(run: Run, tracker: Tracker, release: Release) -> None:
    """An alias that was moved by hand: what serves is what the release says."""
    champion, model = alias_version(tracker, CHAMPION), release.champion
    if champion.package_sha == model.package_sha:
        return
    why = f"release {release.no} serves version {model.version}, the registry named version {champion.version}"
    log.warning("%s: alias champion set right: %s; to serve another version: make rollback TO=…", tracker.system, why)
    write_audit(run.database_url, _alias_row(run.config.system, model, CHAMPION, "release_model", why))
    _set_champion(run, tracker, model)


def _audit_rows(row: ReleaseRow, before: Release | None) -> list[dict[str, Any]]:
    """One for the release, and one for each alias that moves with it."""
    after, system, why = row.document, row.system, row.document.reason
    rows = []
    if row.step not in ("first", "restored"):
        model = after.challenger or after.champion
        rows.append(_alias_row(system, model, "", row.who, why) | {"what": f"release:{row.step}"})
    if before is None or before.champion.package_sha != after.champion.package_sha or row.step == "restored":
        rows.append(_alias_row(system, after.champion, CHAMPION, row.who, why))
    if (left := withdrawn(before, after)) is not None:
        rows.append(_alias_row(system, left, "none", row.who, why))
    return rows


def _alias_row(system: str, model: ReleasedModel, alias: str, who: str, why: str) -> dict[str, Any]:
    return {
        "system": system, "what": f"alias:{alias}", "version": model.version, "package_sha": model.package_sha,
        "who": who, "why": why,
    }  # fmt: skip
