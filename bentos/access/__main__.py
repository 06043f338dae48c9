"""Makes, lists and revokes API keys: `python -m bentos.access create --note "field app"`."""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

from bentos.access.keys import Key, KeyFile, Scope, change_keys, keys_file, new_key, read_keys
from bentos.releasing.source import find_release_file, read_serving, state_folder
from configs.load import environment_overrides, settings
from configs.paths import StatePaths
from vision.edge import DONE, guarded
from vision.errors import UserError
from vision.machine_faults import clear_faults

SCOPES: tuple[str, ...] = get_args(Scope)
DEFAULT_SCOPES = ("predict", "feedback")


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0, 2 for a mistake in what was given, or 1 for a fault of the machine."""
    asked = _parser().parse_args(argv)

    def work() -> int:
        path = _file(asked)
        with clear_faults(path.parent):
            asked.run(asked, path)
        return DONE

    return guarded(work, asked.verbose, kept="the keys are as they were")


def create(asked: Namespace, path: Path) -> None:
    now = datetime.now(UTC)
    expires = now + timedelta(days=asked.days) if asked.days else None
    key, text = new_key(tuple(asked.scopes), asked.note, expires=expires, requests_per_minute=asked.per_minute)
    change_keys(path, lambda file: KeyFile(keys=(*file.keys, key)))
    print(text)
    # The key alone on stdout, so that a script can take it.
    print(f"key {key.id} ({', '.join(key.scopes)}) is in {path}; its text is shown this once", file=sys.stderr)


def show(asked: Namespace, path: Path) -> None:
    file = read_keys(path)
    for key in file.keys if file else ():
        print(_line(key))
    if not file or not file.keys:
        print(f"no keys in {path}", file=sys.stderr)


def revoke(asked: Namespace, path: Path) -> None:
    """A key that was revoked before keeps its time."""
    key_id = asked.id.split("_")[1] if asked.id.startswith("vo_") else asked.id
    file = read_keys(path) or KeyFile()
    if key_id not in {key.id for key in file.keys}:
        raise UserError(f"no key {key_id!r} in {path}", "an id as `list` shows it", "python -m bentos.access list")
    now = datetime.now(UTC)
    change_keys(path, lambda file: KeyFile(keys=tuple(_revoked(key, key_id, now) for key in file.keys)))
    print(f"key {key_id} is revoked; running servers refuse it within a second", file=sys.stderr)


def _revoked(key: Key, key_id: str, now: datetime) -> Key:
    return key.model_copy(update={"revoked": now}) if key.id == key_id and key.revoked is None else key


def _line(key: Key) -> str:
    ends = f"until {key.expires:%Y-%m-%d}" if key.expires else "no end"
    rate = f"{key.requests_per_minute}/min" if key.requests_per_minute else "default rate"
    return "  ".join((key.id, f"{key.state:8}", ",".join(key.scopes), rate, f"{key.created:%Y-%m-%d}", ends, key.note))


def _file(asked: Namespace) -> Path:
    """Where the service that is meant looks for its keys: what it is released with says so, like the environment."""
    if asked.file:
        return asked.file
    release_file = StatePaths(state_folder()).release(asked.system) if asked.system else find_release_file()
    if release_file.is_file():
        system, serving = read_serving(release_file)
        return keys_file(state_folder(), system, serving.access.keys_file)
    configured = environment_overrides().get("serving", {}).get("access", {}).get("keys_file")
    return keys_file(state_folder(), asked.system or settings().system, Path(configured) if configured else None)


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="python -m bentos.access", description=__doc__)
    parser.add_argument("--system", help="whose service (default: VISIONOPS_SYSTEM)")
    parser.add_argument("--file", type=Path, help="another keys file than the system's")
    parser.add_argument("-v", "--verbose", action="store_true", help="show tracebacks")
    commands = parser.add_subparsers(required=True, metavar="create | list | revoke")
    make = commands.add_parser("create", help="a new key, printed once")
    make.add_argument("--scopes", nargs="+", choices=SCOPES, default=DEFAULT_SCOPES, help="default: predict feedback")
    make.add_argument("--note", default="", help="whose it is")
    make.add_argument("--days", type=_positive, help="until it expires (default: never)")
    make.add_argument("--per-minute", type=_positive, help="a rate of its own")
    make.set_defaults(run=create)
    commands.add_parser("list", help="all keys, without their secrets").set_defaults(run=show)
    end = commands.add_parser("revoke", help="a key's end, at once")
    end.add_argument("id")
    end.set_defaults(run=revoke)
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


if __name__ == "__main__":
    raise SystemExit(main())
