"""The one way in which a release changes: rows, then aliases, then the file; a step that died is finished by the next.

The row of a release (`tasks/releases_table.py`) is the intention: its number is taken once, so of two who want a change
one makes it. Aliases follow, then `release.json`, which is what services act on. `settle` compares the three.
"""

import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise, takewhile
from typing import Any

from tasks.audit import write_audit
from tasks.releases_table import Move, ReleaseRow, Taken, add_release, read_releases, release_row
from tasks.restore import register_again, restore_champion
from tasks.run import Run
from tasks.tracking import CHALLENGER, CHAMPION, Tracker, alias_version, version_sha
from vision.errors import UserError
from vision.package import open_package
from vision.release import Release, ReleasedModel, package_folder, read_release, write_release

log = logging.getLogger(__name__)
REGISTRY, AWAY = "registry", "away"
"""In the evidence of a release that was made without the registry."""


@dataclass(frozen=True)
class Made:
    """By whom a release is made, by which step, and on which evidence (JSON-able).

    registry: False while it is away: aliases follow with the next step.
    """

    step: Move
    who: str
    evidence: dict[str, Any] = field(default_factory=dict)
    registry: bool = True


def change_release(run: Run, release: Release, made: Made) -> Release:
    """Makes `release` the one that counts. Raises `Taken` when its number is somebody else's, else what fails."""
    tracker = run.tracker() if made.registry else None
    before = read_release(run.release_file)
    evidence = made.evidence if made.registry else {**made.evidence, REGISTRY: AWAY}
    row = release_row(release, run.config.system, made.step, made.who, evidence)
    add_release(run.database_url, row, _audit_rows(row, before))
    _take_effect(run, tracker, (before, release))
    return release


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
    before, last = _last_change(rows)
    known = version_sha(tracker, last.champion.version) == last.champion.package_sha
    if not known and read_release(run.release_file) is None:
        return None
    log.warning("release %d was begun (%s) and not finished: finished now", last.no, rows[-1].step)
    _take_effect(run, tracker if known else None, (before, last))
    return last


def _last_change(rows: Sequence[ReleaseRow]) -> tuple[Release | None, Release]:
    return (rows[-2].document if len(rows) > 1 else None), rows[-1].document


def _take_effect(run: Run, tracker: Tracker | None, change: tuple[Release | None, Release]) -> None:
    """Aliases, then the file; each may be done already. tracker: None for a registry that can't be told now."""
    before, after = change
    if tracker is not None:
        _move_aliases(run, tracker, before, after)
    try:
        write_release(run.release_file, after)
    except UserError:
        now = read_release(run.release_file)
        if now is None or now.no < after.no:
            raise


def _tell_later(run: Run, tracker: Tracker, rows: Sequence[ReleaseRow]) -> None:
    """The aliases of the last releases that were made without the registry; there may be several."""
    late = list(takewhile(lambda pair: pair[1].evidence.get(REGISTRY) == AWAY, reversed(list(pairwise(rows)))))
    for before, row in late:
        _drop_challenger(tracker, before.document, row.document)
    if late:
        _set_champion(run, tracker, rows[-1].document.champion)


def _move_aliases(run: Run, tracker: Tracker, before: Release | None, after: Release) -> None:
    _set_champion(run, tracker, after.champion)
    _drop_challenger(tracker, before, after)


def _drop_challenger(tracker: Tracker, before: Release | None, after: Release) -> None:
    left, challenger = withdrawn(before, after), alias_version(tracker, CHALLENGER)
    gone = {after.champion.package_sha, left.package_sha if left else None}
    if challenger is not None and challenger.package_sha in gone:
        tracker.client.delete_registered_model_alias(tracker.system, CHALLENGER)


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
