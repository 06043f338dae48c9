"""Runs one prediction again, from its image given again, and says whether the answer is the same. No flow, no server."""

import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

import yaml

from configs.load import settings
from configs.paths import StatePaths
from configs.serving import ServingConfig
from vision.edge import AGAINST, DONE, guarded
from vision.errors import UserError
from vision.package import Package, open_package
from vision.records_find import known_record
from vision.replay import Replay, replay


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0: equal; 3: another answer, or another image; 2: no such prediction, no such image."""
    parser = ArgumentParser(prog="python -m flows.replay_prediction", description=__doc__)
    parser.add_argument("id", help="`prediction_id` of an answer")
    parser.add_argument("image", type=Path, help="the file that was sent")
    parser.add_argument("--system", help="whose service gave it (default: VISIONOPS_SYSTEM, else quickstart)")
    parser.add_argument("-v", "--verbose", action="store_true", help="show tracebacks")
    asked = parser.parse_args(argv)
    return guarded(lambda: _print(asked.id, asked.image, asked.system), asked.verbose, kept="nothing was changed")


def _print(prediction_id: str, image: Path, system: str | None) -> int:
    found = replay_prediction(prediction_id, image, system or settings().system)
    by = f"{found.engine} in {found.precision}" if found.engine else "an engine that the record does not name"
    print(
        f"prediction {found.id}, answered by {by}\n  package: {found.package_sha[:12]}, now in float32 on ONNX Runtime"
    )
    print(f"  tolerance: that of {found.precision}\n  image: {found.image}")
    for part in found.parts:
        verdict = "equal" if part.equal else "DIFFERS"
        print(
            f"  {part.what}: {verdict}: {part.recorded} on record, {part.now} now; largest difference "
            f"{part.difference:.2g}, allowed {part.allowed:g}"
        )
    print("equal" if found.equal else "differs")
    return DONE if found.equal else AGAINST


def replay_prediction(prediction_id: str, image: Path, system: str) -> Replay:
    """Raises `UserError` for an id that no record has and for a file that is no image, `MachineError` without its package."""
    from vision.preprocess import ImageError

    paths = StatePaths(settings().state)
    record = known_record(paths.records(system), prediction_id)
    package = _package(paths, record, system)
    try:
        # This one value only: the rest of an old package's config may be of another schema.
        serving = yaml.safe_load((package.folder / "config.yaml").read_text()).get("serving", {})
        megapixels = serving.get("max_megapixels", ServingConfig().max_megapixels)
        return replay(record, image.read_bytes(), package, paths.inbox(system), megapixels)
    except OSError as error:
        raise UserError(f"{image}: {error.strerror}", "the image file that was sent", "check the path") from None
    except ImageError as error:
        raise UserError(f"{image}: {error}", "the image file that was sent", "check the file") from None


def _package(paths: StatePaths, record: dict, system: str) -> Package:
    """From the state folder, else from the registry."""
    sha = record["package_sha"]
    folder = paths.package(system, sha)
    if not folder.is_dir():
        from tasks.packaging.champion import fetch_package
        from tasks.run import open_run

        folder = fetch_package(open_run(system, None), record["model_version"], sha)
    return open_package(folder, sha)


if __name__ == "__main__":
    sys.exit(main())
