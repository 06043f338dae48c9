"""One step of a release: shadow, canary, promotion, rollback, or nothing yet; judged on what the service wrote down."""

from typing import Any

from prefect import flow
from prefect.states import Completed, State

from flows.command import main
from tasks.releasing.step import NO_MODEL, current_release, decide, gather_evidence, take_step
from tasks.run import open_run


@flow(name="release-model", flow_run_name="release-{system}", persist_result=False)
def release_model(system: str = "quickstart", overrides: dict[str, Any] | None = None, reason: str = "manual") -> State:
    """At most one transition. Ends Completed, or Completed as Rejected when evidence took a model back."""
    run = open_run(system, overrides, reason)
    with run.single_flight("release"):
        release = current_release(run)
        if release is None:
            return Completed(name="Waiting", data={"text": f"{run.config.title}: {NO_MODEL}"}, message=NO_MODEL)
        evidence = gather_evidence(run, release)
        step = decide(run, release, evidence)
        outcome = take_step(run, release, evidence, step)
        message = f"{outcome['step']}: {outcome['reasons'][0]}"
        return Completed(
            name="Rejected" if outcome["step"] == "rollback" else "Completed", data=outcome, message=message
        )


if __name__ == "__main__":
    raise SystemExit(main(release_model))
