"""The stack on this machine, without containers: Prefect with a worker, MLflow, the service, Prometheus; on loopback."""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

from configs.load import load_system, settings
from configs.paths import StatePaths
from flows.command import guarded, sigterm_stops
from tasks.environment import prepare
from tasks.stack.host import Row, down, status, table, up
from tasks.stack.services import PORTS, Place
from vision.edge import DONE, FAULT
from vision.errors import UserError


def main(argv: Sequence[str] | None = None) -> int:
    """`status` and `up` end with code 1 where a service runs without health."""
    parser = ArgumentParser(prog="python -m flows.run_stack", description=__doc__)
    parser.add_argument("what", choices=("up", "down", "status"))
    parser.add_argument("--system", help="a file in configs/, by name or path (default: VISIONOPS_SYSTEM)")
    parser.add_argument(
        "--ports", nargs="+", default=[], metavar="NAME=PORT", help=f"of {', '.join(PORTS)}; 0: a free one"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="show tracebacks")
    asked = parser.parse_args(argv)
    prepare(asked.verbose)
    with sigterm_stops():
        return guarded(lambda: _do(asked), asked.verbose, kept="what `up` had started is ended again")


def _do(asked: Namespace) -> int:
    machine = settings()
    place = Place(machine, StatePaths(machine.state), asked.system or machine.system, PORTS)
    if asked.what == "down":
        print(f"ended: {', '.join(down(place.folder)) or 'nothing was up'}")
        return DONE
    if asked.what == "status":
        return _show(status(place.folder), place)
    load_system(place.system)
    return _show(up(place, ports(asked.ports)), place)


def ports(pairs: Sequence[str]) -> dict[str, int]:
    """`name=port` strings to a dict. Raises `UserError`."""
    found = {}
    for pair in pairs:
        name, _, port = pair.partition("=")
        if name not in PORTS or not port.isdecimal() or int(port) > 65535:
            raise UserError(f"PORTS: {pair!r}", f"NAME=PORT, names {', '.join(PORTS)}, port 0 to 65535", "correct it")
        found[name] = int(port)
    return found


def _show(rows: Sequence[Row], place: Place) -> int:
    print(table(rows))
    api = next((row.where for row in rows if row.name == "prefect" and row.state == "up"), None)
    if api:
        print(
            f"\nlogs: {place.folder}\nflows from your shell go through this server with: export PREFECT_API_URL={api}/api"
        )
    return FAULT if any(row.state == "sick" for row in rows) else DONE


if __name__ == "__main__":
    sys.exit(main())
