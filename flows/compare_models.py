"""Several architectures on one split, each under one budget: figures, what an answer costs here, and which one to take."""

from typing import Any

from prefect import flow
from prefect.states import Completed, Failed, State

from flows.command import main
from tasks.cluster.session import ray_session
from tasks.data.cache import cache
from tasks.data.describe import describe
from tasks.data.explore import explore
from tasks.data.ingest import ingest
from tasks.data.split import split
from tasks.data.validate import validate
from tasks.evaluation.report import reject
from tasks.run import open_run
from tasks.training.compare import compare, contend, contenders, told


@flow(name="compare-models", flow_run_name="compare-{system}", persist_result=False)
def compare_models(
    system: str = "quickstart",
    overrides: dict[str, Any] | None = None,
    reason: str = "manual",
) -> State:
    """`compare.archs` times `compare.seeds`. Registers nothing; what it trained, `train_model` takes up."""
    run = open_run(system, overrides, reason)
    runs = contenders(run)
    with run.single_flight(), ray_session():
        dataset = ingest(run)
        splits = split(run, describe(run, dataset))
        contract = validate(run, dataset, splits)
        if not contract.made["verdict"]["passed"]:
            return Failed(name="ContractFailed", message=reject(run, dataset, splits, contract, explore(run, splits)))
        images = cache(run, splits)
        found = [contend(one, dataset, images) for one in runs]
        compared = compare(run, images, found)
        return Completed(data=told(run, compared, found), message=compared.made["text"])


if __name__ == "__main__":
    raise SystemExit(main(compare_models))
