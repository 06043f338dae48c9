"""The champion as an encrypted file in a state folder for a device, or such a file decrypted again."""

import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Sequence
from pathlib import Path

from configs.load import settings
from flows.command import guarded
from tasks.environment import prepare
from tasks.packaging.champion import open_champion
from tasks.packaging.device import write_device
from tasks.run import open_run
from vision.edge import DONE
from vision.encrypted import decrypt_package
from vision.errors import UserError
from vision.machine_faults import clear_faults
from vision.package_key import key_id, new_key, read_key


def main(argv: Sequence[str] | None = None) -> int:
    asked = _parser().parse_args(argv)
    prepare(asked.verbose)

    def work() -> int:
        with clear_faults(asked.to):
            return asked.run(asked)

    return guarded(work, asked.verbose, kept="what was there is kept")


def encrypt(asked: Namespace) -> int:
    run = open_run(asked.system or settings().system, None)
    champion = open_champion(run)
    if champion is None:
        raise UserError(
            f"system {run.config.system!r} has no champion yet",
            "a system with a registered champion",
            f"make train SYSTEM={run.config.system}",
        )
    made = not asked.key.exists()
    if made:
        new_key(asked.key)
    key = read_key(asked.key)
    file = write_device(champion.package, champion.version, run.config.system, asked.to.absolute(), key)
    print(f"package {champion.package.package_sha[:12]} (version {champion.version}), encrypted: {file}")
    print(f"key:     {key_id(key)}, {'new, ' if made else ''}in {asked.key}; it is in no other place")
    print(f"serve:   VISIONOPS_STATE={asked.to} VISIONOPS_PACKAGE_KEY_FILE={asked.key} bentoml serve .")
    return DONE


def decrypt(asked: Namespace) -> int:
    key = read_key(asked.key)
    if asked.to.exists():
        raise UserError(f"TO={asked.to} is there", "a folder that is not there yet", "choose another TO")
    asked.to.absolute().parent.mkdir(parents=True, exist_ok=True)
    package = decrypt_package(getattr(asked, "from"), asked.to.absolute(), key)
    print(f"package {package.package_sha}, every file as it was sealed: {asked.to}")
    return DONE


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="python -m flows.encrypt_package", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="encrypt | decrypt")
    make = commands.add_parser("encrypt", help="the champion, in a state folder for a device")
    make.add_argument("--system", help="a file in configs/, by name or path (default: VISIONOPS_SYSTEM)")
    make.add_argument("--key", type=_path, required=True, help="key file; made if it is not there")
    make.set_defaults(run=encrypt)
    back = commands.add_parser("decrypt", help="an encrypted file as a package folder")
    back.add_argument("--from", type=_path, required=True, help="the file")
    back.add_argument("--key", type=_path, required=True, help="key file")
    back.set_defaults(run=decrypt)
    for one in (make, back):
        one.add_argument("--to", type=_path, required=True, help="folder to write")
        one.add_argument("-v", "--verbose", action="store_true", help="show tracebacks")
    return parser


def _path(text: str) -> Path:
    """make hands on a variable that was not given as an empty one."""
    if not text:
        raise ArgumentTypeError("a path is missing")
    return Path(text)


if __name__ == "__main__":
    sys.exit(main())
