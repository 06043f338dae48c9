"""Many images at once: a folder, a manifest or a bucket through the champion, into a folder of answers."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.states import Completed, State

from flows.command import main
from tasks.cluster.session import ray_session
from tasks.evaluation.assess import choose_package
from tasks.packaging.score import score
from tasks.run import open_run


@flow(name="score-batch", flow_run_name="score-{system}", persist_result=False)
def score_batch(
    source: str,
    to: str,
    system: str = "quickstart",
    overrides: dict[str, Any] | None = None,
    reason: str = "manual",
    package: str | None = None,
) -> State:
    """`package`: a folder; None: the champion. In the precision that `serving.precision` says.

    A run that was killed goes on where it stopped when it is asked again.
    """
    run = open_run(system, overrides, reason)
    with ray_session():
        chosen = choose_package(run, Path(package) if package else None)
        summary = score(run, chosen, source, Path(to))
        return Completed(data=summary, message=f"{summary['images']} images, {summary['unreadable']} unreadable")


def options(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--from", dest="source", required=True, help="folder, manifest (.csv, .parquet) or s3://bucket/…"
    )
    parser.add_argument("--to", required=True, help="folder for the answers; the same again goes on with it")
    parser.add_argument("--package", help="folder of a package (default: the champion)")


if __name__ == "__main__":
    raise SystemExit(main(score_batch, options))
