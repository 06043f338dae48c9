"""What speaks for the next step of a release, for the person who decides on it: the gate, and what was measured in service."""

import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from datetime import UTC, datetime

from configs.load import settings
from flows.command import guarded
from tasks.environment import prepare
from tasks.releasing.status import standing
from tasks.releasing.step import NO_MODEL, current_release, gather_evidence, waiting_version
from tasks.run import Run, open_run
from vision.edge import AGAINST, DONE
from vision.errors import UserError
from vision.passport import gate_verdict
from vision.release import Release
from vision.rollout import Step, next_step

FORWARD = ("shadow", "canary", "promote")


def main(argv: Sequence[str] | None = None) -> int:
    """Changes nothing but what a step that died has left undone. Exit code 3 where no step forward is due."""
    parser = ArgumentParser(prog="python -m flows.show_evidence", description=__doc__)
    parser.add_argument("--system", help="whose release (default: VISIONOPS_SYSTEM)")
    parser.add_argument("-v", "--verbose", action="store_true", help="show tracebacks")
    asked = parser.parse_args(argv)
    prepare(asked.verbose)
    return guarded(lambda: _show(asked.system or settings().system), asked.verbose, kept="nothing was changed")


def _show(system: str) -> int:
    run = open_run(system, {"release.automatic": True})
    with run.single_flight("release"):
        release = current_release.fn(run)
        if release is None:
            raise UserError(f"{system}: {NO_MODEL}", "a system with a model", f"make train SYSTEM={system}")
        evidence = gather_evidence.fn(run, release)
        waiting = waiting_version(run, release)
    step = next_step(release, evidence, run.config.release, datetime.now(UTC), waiting.version if waiting else None)
    sha = _candidate(release, waiting.package_sha if waiting else None)
    verdict = gate_verdict(run.stages, sha) if sha else None
    print("\n".join([f"{run.config.title}: {standing(release)}", *_gate(run, sha, verdict), *_service(evidence, step)]))
    return DONE if step.to in FORWARD and verdict is not None and verdict["passed"] else AGAINST


def _candidate(release: Release, waiting: str | None) -> str | None:
    """The package that a step forward is about: what is beside the champion, else what waits."""
    return release.challenger.package_sha if release.challenger else waiting


def _gate(run: Run, sha: str | None, verdict: dict | None) -> list[str]:
    if sha is None:
        return ["  gate      nothing waits to be released"]
    if verdict is None:
        return [
            f"  gate      package {sha[:8]}: its verdict is not in {run.stages}: look at the machine that trained it"
        ]
    lines = [f"  gate      package {sha[:8]} {'passed' if verdict['passed'] else 'FAILED'}"]
    return lines + [f"            {reason}" for reason in verdict["reasons"]]


def _service(evidence, step: Step) -> list[str]:
    lines = [f"  measured  {measure}" for measure in evidence.measures] or ["  measured  nothing yet"]
    return [
        *lines,
        f"  next      {step.to}: {step.reasons[0]}",
        *(f"            {reason}" for reason in step.reasons[1:]),
    ]


if __name__ == "__main__":
    sys.exit(main())
