"""The passport of one prediction: the data, code and gate that led to it. No flow, no server: it reads files."""

import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

import yaml

from configs.load import settings
from configs.paths import StatePaths
from configs.places import places_of
from tasks.audit import read_audit
from vision.edge import AGAINST, DONE, guarded
from vision.machine_faults import redacted
from vision.passport import Passport, join
from vision.passport_check import Stores, check_passport
from vision.records_find import known_record


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the passport as YAML; exit code 2 for an id that no record has, 3 when a hash checked is another one."""
    parser = ArgumentParser(prog="python -m flows.trace_prediction", description=__doc__)
    parser.add_argument("id", help="`prediction_id` of an answer")
    parser.add_argument("--system", help="whose service gave it (default: VISIONOPS_SYSTEM, else quickstart)")
    parser.add_argument("--check", action="store_true", help="make every hash again from the files that it names")
    parser.add_argument("-v", "--verbose", action="store_true", help="show tracebacks")
    asked = parser.parse_args(argv)
    return guarded(lambda: _print(asked.id, asked.system, asked.check), asked.verbose)


def _print(prediction_id: str, system: str | None, check: bool) -> int:
    system = system or settings().system
    found = passport_of(prediction_id, system)
    shown = found.model_dump(mode="json") | {"service": in_service(found, system)}
    print(yaml.safe_dump(shown, sort_keys=False, allow_unicode=True, width=120), end="")
    return _check(found, system) if check else DONE


def _check(passport: Passport, system: str) -> int:
    paths, machine = StatePaths(settings().state), settings()
    remote = Path(machine.dvc_remote or paths.root / "dvc-remote")
    packages = tuple(paths.packages(name) for name in paths.systems)
    stores = Stores(paths.datasets, remote if remote.is_dir() else None, paths.inbox(system), packages)
    lines = check_passport(passport, places_of(paths, system), stores)
    print("\nchecked:")
    for line in lines:
        print(f"  {line.state:8}{line.what:32} {line.hash[:16]:18}{line.note}".rstrip())
    if machine.dvc_remote and "://" in machine.dvc_remote:
        print(f"  (data is looked for on this machine, not in {redacted(machine.dvc_remote)})")
    differs, gone = (sum(line.state == state for line in lines) for state in ("differs", "gone"))
    print(f"{len(lines)} hashes: {len(lines) - differs - gone} ok, {gone} gone, {differs} differ")
    return AGAINST if differs else DONE


def in_service(passport: Passport, system: str) -> list[str]:
    """How this package went into service and out of it again: the audit log's rows on it."""
    machine = settings()
    url = machine.database_url or f"sqlite:///{StatePaths(machine.state).state_db}"
    rows = read_audit(url, system)
    return [
        f"{row['at']}: {row['what']} version {row['version']} by {row['who']}: {row['why']}"
        for row in rows
        if row["package_sha"] == passport.model.package_sha
    ]


def passport_of(prediction_id: str, system: str) -> Passport:
    """Raises `UserError` for an id that is none, or that no record of `system` has."""
    places = places_of(StatePaths(settings().state), system)
    return join(known_record(places.records, prediction_id), places)


if __name__ == "__main__":
    sys.exit(main())
