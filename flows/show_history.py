"""Which model was champion when, what ran beside it, and why. No flow, no server: it reads the state database."""

import json
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from datetime import UTC, datetime

from configs.load import settings
from configs.paths import StatePaths
from tasks.releasing.history import Era, era_at, read_history
from vision.edge import DONE, guarded
from vision.errors import UserError

EVIDENCE_CHARS = 300


def main(argv: Sequence[str] | None = None) -> int:
    """Prints all of it, or what held at one time; exit code 2 for a time that is none."""
    parser = ArgumentParser(prog="python -m flows.show_history", description=__doc__)
    parser.add_argument("--system", help="whose models (default: VISIONOPS_SYSTEM, else quickstart)")
    parser.add_argument("--at", help="a time such as 2026-11-21T08:00 (UTC unless it names an offset)")
    parser.add_argument("-v", "--verbose", action="store_true", help="show tracebacks")
    asked = parser.parse_args(argv)
    return guarded(lambda: _print(asked.system, asked.at), asked.verbose, kept="nothing was changed")


def _print(system: str | None, at: str | None) -> int:
    machine = settings()
    system, paths = system or machine.system, StatePaths(machine.state)
    wanted = _time(at) if at else None
    url = machine.database_url or f"sqlite:///{paths.state_db}"
    history = read_history(url, system) if machine.database_url or paths.state_db.is_file() else []
    if not history:
        raise UserError(
            f"system {system!r} never had a champion here", "a system with a model", f"make train SYSTEM={system}"
        )
    if wanted is None:
        print("\n".join(told(era) for era in history))
        return DONE
    held = era_at(history, wanted)
    print(told(held) if held else f"no champion yet at {wanted:%Y-%m-%d %H:%M:%S} UTC; the first: {told(history[0])}")
    return DONE


def told(era: Era) -> str:
    """In a line or two."""
    release = f"release {era.no}" if era.no is not None else "registry"
    beside = f", version {era.challenger} in {era.mode}" if era.challenger is not None else ""
    beside += f" with {era.share:.0%} of the clients" if era.mode == "canary" else ""
    line = f"{era.at:%Y-%m-%d %H:%M:%S} UTC  {release}: champion version {era.champion} ({(era.package_sha or '')[:12]}){beside}"
    evidence = json.dumps(era.evidence) if era.evidence else ""
    more = f"\n    on: {evidence[:EVIDENCE_CHARS]}{' …' if len(evidence) > EVIDENCE_CHARS else ''}" if evidence else ""
    return f"{line}\n    {era.step} by {era.who}: {era.why}{more}"


def _time(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise UserError(f"--at {text!r} is no time", "ISO 8601, such as 2026-11-21T08:00", "correct it") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


if __name__ == "__main__":
    sys.exit(main())
