"""What is told of a release step: `release_status.json` for /metrics, and the lines that a command prints."""

import json
import os
from datetime import UTC, datetime
from typing import Any

from tasks.run import Run
from vision.release import Release, ReleasedModel
from vision.rollout import DISAGREEMENT, Evidence, Step

STATUS = "release_status.json"


def write_status(run: Run, release: Release, evidence: Evidence, step: Step) -> None:
    """A flat summary, replaced in one step. `pairs`, `disagreement`, `challenger_failures`: what the step was taken on."""
    split = evidence.measure(DISAGREEMENT)
    status = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "release_no": release.no,
        "mode": release.mode,
        "champion_version": release.champion.version,
        "challenger_version": release.challenger.version if release.challenger else None,
        "share": release.share,
        "pairs": evidence.pairs,
        "disagreement": split.found.value if split else None,
        "challenger_failures": evidence.failures,
        "step": step.to,
        "reason": "; ".join(step.reasons),
    }
    partial = run.folder / f".{STATUS}.{os.getpid()}.partial"
    partial.write_text(json.dumps(status, indent=1))
    partial.replace(run.folder / STATUS)


def outcome(run: Run, change: tuple[Release, Release], evidence: Evidence, step: Step) -> dict[str, Any]:
    """What a flow hands back; `text` is what its command prints."""
    before, after = change
    lines = [f"{run.config.title}: {standing(before)}", f"  decided   {step.to}: {step.reasons[0]}"]
    lines += [f"            {reason}" for reason in step.reasons[1:]]
    lines += [f"  evidence  {line}" for line in _evidence(evidence) if line not in "\n".join(step.reasons)]
    if after.no != before.no:
        lines.append(f"  now       {standing(after)}")
    return {
        "text": "\n".join(lines),
        "step": step.to,
        "reasons": list(step.reasons),
        "changed": after.no != before.no,
        "release_no": after.no,
        "mode": after.mode,
        "champion_version": after.champion.version,
        "challenger_version": after.challenger.version if after.challenger else None,
    }


def standing(release: Release) -> str:
    champion = f"release {release.no}: {_named(release.champion)} answers"
    if release.challenger is None:
        return champion
    beside = f"{_named(release.challenger)} in shadow"
    if release.mode == "canary":
        beside = f"{_named(release.challenger)} answers {release.share:.0%} of the clients"
    return f"{champion}, {beside}"


def _named(model: ReleasedModel) -> str:
    return f"version {model.version} ({model.package_sha[:8]})"


def _evidence(evidence: Evidence) -> list[str]:
    if not evidence.measures:
        return []
    counts = (
        f"{evidence.answers} answers of the challenger ({evidence.clients} clients, {evidence.failures} failures), "
        f"{evidence.champion_answers} of the champion, {evidence.pairs} pairs, {evidence.labels} labelled"
    )
    return [counts, *map(str, evidence.measures)]
