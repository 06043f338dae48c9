"""A saved package on its system's data as it is now, or on any version of it."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.states import Completed, State

from flows.command import main
from tasks.cluster.session import ray_session
from tasks.data.describe import describe
from tasks.data.ingest import checkout, data_version, ingest
from tasks.data.split import split
from tasks.evaluation.assess import assess, choose_package
from tasks.run import open_run


@flow(name="evaluate-model", flow_run_name="evaluate-{system}", persist_result=False)
def evaluate_model(
    system: str = "quickstart",
    overrides: dict[str, Any] | None = None,
    reason: str = "manual",
    package: str | None = None,
    data_commit: str | None = None,
    images: str = "test",
) -> State:
    """`package`: a folder; None: the champion. `data_commit`: of the data repository; None: the data as it is now.

    images: which split to measure on: test, val, train, or all.
    """
    run = open_run(system, overrides, reason)
    commit = data_version(run, data_commit) if data_commit else None
    # A version that is stored already is checked out beside; the data as it is now is the one that a training reads.
    with run.single_flight(f"checkout-{commit}" if commit else "training"), ray_session():
        chosen = choose_package(run, Path(package) if package else None)
        if commit:
            run = run.model_copy(update={"dataset_folder": run.folder / "checkouts" / commit})
        dataset = checkout(run, commit, run.dataset_folder) if commit else ingest(run)
        splits = split(run, describe(run, dataset), move_head=False)
        result = assess(run, chosen, splits, images)
        return Completed(data=result.made, message=f"{result.made['headline']} {result.made['value']:.3f}")


def options(parser: ArgumentParser) -> None:
    parser.add_argument("--package", help="folder of a package (default: the champion)")
    parser.add_argument("--data-commit", help="commit in the data repository (default: the source as it is now)")
    parser.add_argument("--images", choices=("test", "val", "train", "all"), default="test", help="which split")


if __name__ == "__main__":
    raise SystemExit(main(evaluate_model, options))
