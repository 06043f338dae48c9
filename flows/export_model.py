"""The champion as files for elsewhere: ONNX, INT8, TFLite, weights, labels, and how to run them."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.states import Completed, State

from flows.command import main
from tasks.evaluation.assess import choose_package
from tasks.packaging.export_package import PRECISIONS, export_package
from tasks.run import open_run


@flow(name="export-model", flow_run_name="export-{system}", persist_result=False)
def export_model(
    system: str = "quickstart",
    overrides: dict[str, Any] | None = None,
    reason: str = "manual",
    package: str | None = None,
    precisions: tuple[str, ...] = PRECISIONS[:2],
    to: str | None = None,
) -> State:
    """`package`: a folder; None: the champion. What does not agree with the package is not handed over."""
    run = open_run(system, overrides, reason)
    with run.single_flight("export"):
        chosen = choose_package(run, Path(package) if package else None)
        made = export_package(run, chosen, precisions, Path(to) if to else None)
        return Completed(data=made, message=made["folder"])


def options(parser: ArgumentParser) -> None:
    parser.add_argument("--package", help="folder of a package (default: the champion)")
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS[:2])
    parser.add_argument("--to", help="folder to write (default: exports/ in the system's state)")


if __name__ == "__main__":
    raise SystemExit(main(export_model, options))
