"""The champion as a container image: its bento, non-root, with a health check, for a CPU (no torch) or a GPU."""

import shlex
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from configs.load import settings
from flows.command import guarded
from tasks.environment import prepare
from tasks.packaging.bento import bento_home
from tasks.packaging.build_bento import bento_folder, bento_tag, build_bento, stored_labels
from tasks.packaging.build_image import ImagePlan, build_image, find_builder, image_tag
from tasks.packaging.champion import open_champion
from tasks.packaging.push_image import check_registry, push_image
from tasks.run import Run, open_run
from vision.edge import DONE
from vision.errors import UserError
from vision.lineage import PROJECT


def main(argv: Sequence[str] | None = None) -> int:
    parser = ArgumentParser(prog="python -m flows.build_image", description=__doc__)
    add = parser.add_argument
    add("--system", help="a file in configs/, by name or path (default: VISIONOPS_SYSTEM)")
    add("--target", choices=("cpu", "gpu"), default="cpu")
    add("--builder", default="", help="docker, podman or buildah, with its options (default: the first that answers)")
    add("--build-args", default="", help="more options of its `build`")
    add("--base", default="", help="image to build on (default: python:3.11-slim)")
    add("--pip-config", type=Path, help="pip.conf with the index to install from; stays out of the image")
    add("--registry", default="", help="push it there, under its own name (ghcr.io/team), and tell its digest")
    add("-v", "--verbose", action="store_true", help="show tracebacks")
    asked = parser.parse_args(argv)
    prepare(asked.verbose)
    return guarded(lambda: _build(asked), asked.verbose, kept="images that are there are kept")


def _build(asked: Namespace) -> int:
    """The builder is looked for first: nothing else is worth doing without one."""
    builder = find_builder(asked.builder)
    if asked.pip_config and not asked.pip_config.is_file():
        raise UserError(f"PIP_CONFIG={asked.pip_config} is not there", "a pip.conf", "correct the path")
    registry = check_registry(asked.registry) if asked.registry else ""
    run = open_run(asked.system or settings().system, None)
    home = bento_home(run.state.root)
    bento = bento_of_champion(run, home)
    plan = ImagePlan(
        tag=image_tag(bento, asked.target),
        builder=builder,
        target=asked.target,
        arguments=tuple(shlex.split(asked.build_args)),
        base=asked.base,
        pip_config=asked.pip_config,
    )
    size = build_image(plan, bento_folder(home, bento), stored_labels(home, bento) or {}, PROJECT)
    print(f"image: {plan.tag}\nsize:  {size}\nrun:   see docs/deployment.md (it wants an API key)")
    if registry:
        print(f"pushed: {push_image(builder, plan.tag, registry)}")
    return DONE


def bento_of_champion(run: Run, home: Path) -> str:
    """Its tag; built where it isn't there, or is of older code. Raises `UserError` for a system without a champion."""
    champion = open_champion(run)
    if champion is None:
        raise UserError(
            f"system {run.config.system!r} has no champion yet",
            "a system with a registered champion",
            f"make train SYSTEM={run.config.system}",
        )
    # One that is replaced keeps what its training wrote on it.
    known = stored_labels(home, bento_tag(run.config.system, champion.version)) or {}
    labels = {**known, "system": run.config.system, **run.git_tags()}
    return build_bento(champion.package.folder, run.config.system, champion.version, PROJECT, labels, home)


if __name__ == "__main__":
    sys.exit(main())
