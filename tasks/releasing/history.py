"""Who was champion when, and why: from the releases in `state.db`, and from the audit log where it goes further back."""

from datetime import UTC, datetime
from typing import Any

from tasks.audit import read_audit
from tasks.releasing.table import ReleaseRow, read_releases
from vision.settings import Section

CHAMPION = "alias:champion"


class Era(Section):
    """From `at` until the next one: the champion, and what ran beside it. no: of the release, None where only the audit
    log knows of it.
    """

    at: datetime
    no: int | None
    champion: int | None
    package_sha: str | None
    challenger: int | None = None
    mode: str = "single"
    share: float = 0.0
    step: str
    who: str
    why: str
    evidence: dict[str, Any] = {}


def read_history(url: str, system: str) -> list[Era]:
    """Oldest first. An alias that was set with a release of its own is told once, by the release."""
    releases = read_releases(url, system)
    eras = [_of_release(row) for row in releases]
    known = {era.package_sha for era in eras}
    audited = [_of_alias(row) for row in read_audit(url, system) if row["what"] == CHAMPION]
    earliest = min((era.at for era in eras), default=None)
    eras += [era for era in audited if earliest is None or era.at < earliest or era.package_sha not in known]
    return sorted(eras, key=lambda era: (era.at, era.no if era.no is not None else -1))


def era_at(history: list[Era], at: datetime) -> Era | None:
    """What held at that time, None before the first champion."""
    return next((era for era in reversed(history) if era.at <= at), None)


def _of_release(row: ReleaseRow) -> Era:
    document = row.document
    return Era(
        at=_utc(document.at if row.step in ("found", "restored") else row.at),
        no=row.no,
        champion=document.champion.version,
        package_sha=document.champion.package_sha,
        challenger=document.challenger.version if document.challenger else None,
        mode=document.mode,
        share=document.share,
        step=row.step,
        who=row.who,
        why=document.reason,
        evidence=row.evidence,
    )


def _of_alias(row: dict[str, Any]) -> Era:
    return Era(
        at=_utc(datetime.fromisoformat(row["at"])), no=None, champion=row["version"], package_sha=row["package_sha"],
        step="alias", who=row["who"], why=row["why"],
    )  # fmt: skip


def _utc(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
