"""An image of the service into a cluster, by its digest: applied, waited for, taken back when it does not get ready."""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

from flows.command import guarded
from tasks.stack.rollout import manifests, overlay, roll_out, undo
from vision.edge import DONE
from vision.errors import UserError


def main(argv: Sequence[str] | None = None) -> int:
    parser = ArgumentParser(prog="python -m flows.roll_out", description=__doc__)
    parser.add_argument("overlay", help="a folder of deploy/kubernetes/overlays")
    parser.add_argument("--image", default="", help="registry/name@sha256:…")
    parser.add_argument("--dry-run", action="store_true", help="print what would be applied")
    parser.add_argument("--undo", action="store_true", help="back to what ran before")
    parser.add_argument("-v", "--verbose", action="store_true", help="show tracebacks")
    asked = parser.parse_args(argv)
    return guarded(lambda: _do(asked), asked.verbose, kept="what runs goes on")


def _do(asked: Namespace) -> int:
    into = overlay(asked.overlay)
    if asked.undo:
        undo(into)
        print(f"{into.namespace}: what ran before runs again")
    elif asked.dry_run:
        print(manifests(into, asked.image), end="")
    elif not asked.image:
        raise UserError("no IMAGE", "registry/name@sha256:…", "make image SYSTEM=… REGISTRY=… prints it")
    else:
        roll_out(into, asked.image)
        print(f"{into.namespace}: {asked.image} is ready")
    return DONE


if __name__ == "__main__":
    sys.exit(main())
