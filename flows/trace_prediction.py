"""The passport of one prediction: the data, code and gate that led to it. No flow, no server: it reads files."""

import sys
from argparse import ArgumentParser
from collections.abc import Sequence

import yaml

from configs.load import settings
from configs.paths import StatePaths
from configs.places import places_of
from flows.command import DONE, guarded
from vision.errors import UserError
from vision.passport import Passport, trace
from vision.records import made_at_ms


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the passport as YAML; exit code 2 for an id that no record has."""
    parser = ArgumentParser(prog="python -m flows.trace_prediction", description=__doc__)
    parser.add_argument("id", help="`prediction_id` of an answer")
    parser.add_argument("--system", help="whose service gave it (default: VISIONOPS_SYSTEM, else quickstart)")
    parser.add_argument("-v", "--verbose", action="store_true", help="show tracebacks")
    asked = parser.parse_args(argv)
    return guarded(lambda: _print(asked.id, asked.system), asked.verbose)


def _print(prediction_id: str, system: str | None) -> int:
    found = passport_of(prediction_id, system or settings().system)
    print(yaml.safe_dump(found.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120), end="")
    return DONE


def passport_of(prediction_id: str, system: str) -> Passport:
    """Raises `UserError` for an id that is none, or that no record of `system` has."""
    places = places_of(StatePaths(settings().state), system)
    allowed = f"the prediction_id of an answer whose record lies in {places.records}"
    do = "check the id and --system; records are kept for serving.keeping.records_days"
    try:
        made_at_ms(prediction_id)
    except ValueError:
        raise UserError(f"{prediction_id!r} is no prediction id", allowed, do) from None
    found = trace(prediction_id, places)
    if found is None:
        raise UserError(f"no record of prediction {prediction_id}", allowed, do)
    return found


if __name__ == "__main__":
    sys.exit(main())
