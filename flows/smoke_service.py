"""Asks a running service the golden images of a package: does it answer as the package says? For after a deployment."""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from configs.load import settings
from flows.command import guarded
from tasks.environment import prepare
from tasks.packaging.champion import open_champion
from tasks.packaging.smoke import smoke, wait_until_ready
from tasks.run import open_run
from vision.edge import AGAINST, DONE
from vision.errors import UserError
from vision.package import Package, open_package

KEY_HEADER = "X-API-Key"


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 3 when an answer is not the package's."""
    parser = ArgumentParser(prog="python -m flows.smoke_service", description=__doc__)
    add = parser.add_argument
    add("url", help="http://host:port; its API key, where it asks for one, is VISIONOPS_SERVICE_KEY")
    add("--system", help="whose champion it should serve (default: VISIONOPS_SYSTEM)")
    add("--package", type=Path, help="folder of the package that it should serve (default: the champion)")
    add("--wait", type=float, default=60.0, metavar="SECONDS", help="until it is ready (default: 60)")
    add("-v", "--verbose", action="store_true", help="show tracebacks")
    asked = parser.parse_args(argv)
    prepare(asked.verbose)
    return guarded(lambda: _smoke(asked), asked.verbose, kept="the service was only asked")


def _smoke(asked: Namespace) -> int:
    if not asked.url.startswith(("http://", "https://")):
        raise UserError(f"URL={asked.url}", "http://host:port or https://…", "correct it")
    url, key = asked.url.rstrip("/"), settings().service_key
    package = open_package(asked.package) if asked.package else _champion(asked.system or settings().system)
    wait_until_ready(url, asked.wait)
    verdict = smoke(url, package, {KEY_HEADER: key.get_secret_value()} if key else None)
    print(f"{url}, package {package.package_sha[:12]}: {'passed' if verdict.passed else 'failed'}")
    print("\n".join(f"  {reason}" for reason in verdict.reasons))
    return DONE if verdict.passed else AGAINST


def _champion(system: str) -> Package:
    found = open_champion(open_run(system, None))
    if found is None:
        raise UserError(f"system {system!r} has no champion", "a system with a model", f"make train SYSTEM={system}")
    return found.package


if __name__ == "__main__":
    sys.exit(main())
