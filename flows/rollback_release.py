"""Takes a release back, now: what served before serves again. No Prefect and no registry is needed for it."""

import sys
from argparse import ArgumentParser
from collections.abc import Sequence

from configs.load import settings
from flows.command import guarded
from tasks.environment import prepare
from tasks.releasing.back import roll_back
from tasks.run import open_run
from vision.edge import DONE


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 2 when there is nothing to go back to."""
    parser = ArgumentParser(prog="python -m flows.rollback_release", description=__doc__)
    parser.add_argument("--system", help="a file in configs/, by name or path (default: VISIONOPS_SYSTEM)")
    parser.add_argument("--to", type=int, metavar="VERSION", help="this version instead of the one before")
    parser.add_argument("--reason", default="manual", help="why; recorded")
    parser.add_argument("-v", "--verbose", action="store_true", help="show tracebacks")
    asked = parser.parse_args(argv)
    prepare(asked.verbose)
    return guarded(lambda: _roll_back(asked.system or settings().system, asked.reason, asked.to), asked.verbose)


def _roll_back(system: str, reason: str, version: int | None) -> int:
    run = open_run(system, None, reason, registry=False)
    with run.single_flight("release"):
        print(roll_back(run, version)["text"])
    return DONE


if __name__ == "__main__":
    sys.exit(main())
