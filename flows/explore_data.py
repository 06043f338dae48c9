"""What a system's data looks like, before any training: one page with findings, pictures, near-duplicates and a map."""

from typing import Any

from prefect import flow
from prefect.states import Completed, State

from flows.command import main
from tasks.cluster.session import ray_session
from tasks.data.describe import describe
from tasks.data.explore import explore, told
from tasks.data.ingest import ingest
from tasks.data.split import split
from tasks.run import open_run


@flow(name="explore-data", flow_run_name="explore-{system}", persist_result=False)
def explore_data(
    system: str = "quickstart",
    overrides: dict[str, Any] | None = None,
    reason: str = "manual",
) -> State:
    """The page of `system`'s data as it is now. Trains nothing, and a later training takes up what was made."""
    run = open_run(system, overrides, reason, registry=False)
    with run.single_flight(), ray_session():
        dataset = ingest(run)
        splits = split(run, describe(run, dataset), move_head=False)
        found = explore(run, splits)
        return Completed(data=told(run, dataset, found), message=f"{len(found.made['insights'])} findings")


if __name__ == "__main__":
    raise SystemExit(main(explore_data, registry=False))
