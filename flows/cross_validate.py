"""How good a system's recipe is: every image tested once, in folds of families. Registers nothing."""

from argparse import ArgumentParser
from typing import Annotated, Any

from prefect import flow
from prefect.states import Completed, Failed, State
from pydantic import Field

from flows.command import main
from tasks.cluster.session import ray_session
from tasks.data.describe import describe
from tasks.data.explore import explore
from tasks.data.ingest import ingest
from tasks.data.split import split
from tasks.data.validate import validate
from tasks.evaluation.folds import fold, summarise, tested, told
from tasks.evaluation.report import reject
from tasks.run import open_run
from tasks.training.other_system import refuse_unfit_start


@flow(name="cross-validate", flow_run_name="cross-validate-{system}", persist_result=False)
def cross_validate(
    system: str = "quickstart",
    overrides: dict[str, Any] | None = None,
    reason: str = "manual",
    folds: Annotated[int, Field(ge=2, le=20)] = 5,
) -> State:
    """`folds` trainings by the system's config; a killed run goes on where it was."""
    run = open_run(system, overrides, reason)
    with run.single_flight(), ray_session():
        refuse_unfit_start(run)
        dataset = ingest(run)
        manifest = describe(run, dataset)
        splits = split(run, manifest, move_head=False)
        contract = validate(run, dataset, splits)
        if not contract.made["verdict"]["passed"]:
            return Failed(name="ContractFailed", message=reject(run, dataset, splits, contract, explore(run, splits)))
        cuts = [fold(run, manifest, folds, number) for number in range(folds)]
        result = summarise(run, [tested(run, dataset, cut) for cut in cuts])
        return Completed(data=told(run, result), message=result.made["text"])


def options(parser: ArgumentParser) -> None:
    parser.add_argument("--folds", type=int, choices=range(2, 21), default=5, metavar="2..20", help="default: 5")


if __name__ == "__main__":
    raise SystemExit(main(cross_validate, options))
