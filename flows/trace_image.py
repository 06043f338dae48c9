"""The blast radius of one image or one label: which models were trained on it, and which predictions those served."""

import re
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

import yaml

from configs.load import settings
from configs.paths import StatePaths
from configs.places import places_of
from vision.blast_radius import BlastRadius, Sought, blast_radius, image_sha
from vision.edge import DONE, guarded
from vision.errors import UserError
from vision.package import sha256_file


def main(argv: Sequence[str] | None = None) -> int:
    """Prints it as YAML; exit code 2 for an image or a label that no version of the data ever had."""
    parser = ArgumentParser(prog="python -m flows.trace_image", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--image", help="a file, its sha256, or its path in the data set (images/<label>/<file>)")
    what.add_argument("--label", help="a class: all its images")
    parser.add_argument("--system", help="whose data (default: VISIONOPS_SYSTEM, else quickstart)")
    parser.add_argument("-v", "--verbose", action="store_true", help="show tracebacks")
    asked = parser.parse_args(argv)
    return guarded(lambda: _print(asked.image, asked.label, asked.system), asked.verbose, kept="nothing was changed")


def _print(image: str | None, label: str | None, system: str | None) -> int:
    found = radius_of(image, label, system or settings().system)
    shown = found.model_dump(mode="json") | {"summary": summary(found)}
    print(yaml.safe_dump(shown, sort_keys=False, allow_unicode=True, width=120), end="")
    return DONE


def summary(found: BlastRadius) -> str:
    """In a sentence."""
    trained = {use.split_sha for use in found.data if use.images.get("train")}
    packages: set[str] = set()
    for use in found.trainings:  # in the order of time: a package comes before those that went on from it
        if use.package_sha and (use.split_sha in trained or use.through in packages):
            packages.add(use.package_sha)
    answers = sum(sum(one.predictions.values()) for one in found.served if one.package_sha in packages)
    return (
        f"in {len({use.dvc_md5 for use in found.data})} data versions; {len(packages)} packages were trained on it "
        f"and gave {answers} predictions; {len(found.seen_in)} kept images of predictions are the image itself"
    )


def radius_of(image: str | None, label: str | None, system: str) -> BlastRadius:
    """Raises `UserError` for what no version of the data, no label and no prediction knows."""
    paths = StatePaths(settings().state)
    places = places_of(paths, system)
    sought = _sought(image) if image else Sought("label", label or "")
    if sought.column == "path" and (sha := image_sha(sought, places)):
        sought = Sought("sha256", sha)
    others = [places_of(paths, name) for name in paths.systems if name != system]
    found = blast_radius(sought, places, paths.datasets, paths.inbox(system), paths.labelled(system), others)
    if not (found.data or found.seen_in or found.labelled):
        raise UserError(
            f"{sought.column} {sought.value}: in no data version of {system} and in no prediction that was kept",
            "an image or a label of its data, or an image that it was asked about and kept",
            "check the name and --system",
        )
    return found


def _sought(image: str) -> Sought:
    if Path(image).is_file():
        return Sought("sha256", sha256_file(Path(image)))
    if re.fullmatch(r"[0-9a-f]{64}", image):
        return Sought("sha256", image)
    return Sought("path", image)


if __name__ == "__main__":
    sys.exit(main())
