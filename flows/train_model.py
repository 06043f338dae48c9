"""From a folder of images to a registered model with a bento, or a verdict that says why not."""

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
from tasks.evaluation.analyse import analyse
from tasks.evaluation.evaluate import evaluate
from tasks.evaluation.gate import gate
from tasks.evaluation.report import publish, reject
from tasks.monitoring.known_training import known_training
from tasks.packaging.bento import build, smoke
from tasks.packaging.export import export
from tasks.packaging.register import assign_alias, register
from tasks.run import open_run
from tasks.training.other_system import refuse_unfit_start
from tasks.training.pretrain import starting_weights
from tasks.training.train import train
from tasks.training.trained import Trained, before
from tasks.training.tune import tune


@flow(name="train-model", flow_run_name="train-{system}", persist_result=False)
def train_model(
    system: str = "quickstart",
    overrides: dict[str, Any] | None = None,
    reason: str = "manual",
    window: str | None = None,
) -> State:
    """Trains `system`. Ends Completed, Completed as Rejected (lost gate or smoke test), or Failed (broken contract, fault)."""
    run = open_run(system, overrides, reason, window)
    with run.single_flight(), ray_session(), known_training(run) as training:
        if training.before:
            return Completed(name="Known", data={"text": training.before}, message=training.before)
        refuse_unfit_start(run)
        dataset = ingest(run)
        manifest = describe(run, dataset)
        splits = split(run, manifest)
        contract = validate(run, dataset, splits)
        pictures = explore(run, splits)
        if not contract.made["verdict"]["passed"]:
            return Failed(name="ContractFailed", message=reject(run, dataset, splits, contract, pictures))
        images = cache(run, splits)
        start = starting_weights(run, dataset, images)
        run = tune(run, dataset, images, start)
        model = train(run, dataset, images, start)
        evaluation = evaluate(run, dataset, images, model)
        analysis = analyse(run, dataset, images, model, evaluation)
        trained = Trained(
            dataset=dataset, manifest=manifest, splits=splits, contract=contract,
            pictures=pictures, cache=images, model=model, evaluation=evaluation, analysis=analysis, before=before(run, start),
        )  # fmt: skip
        package = export(run, trained)
        verdict = gate(run, trained, package)
        if not verdict.made["verdict"]["passed"]:
            return Completed(name="Rejected", data=publish(run, trained, package, verdict), message="lost its gate")
        version = register(run, trained, package, verdict)
        bento = build(run, package, version)
        alias = assign_alias(run, version, smoke(run, package, bento))
        outcome = publish(run, trained, package, verdict, bento, alias)
        if alias.passed:
            training.passed()
        return Completed(name="Completed" if alias.passed else "Rejected", data=outcome, message=alias.reason)


if __name__ == "__main__":
    raise SystemExit(main(train_model))
