"""The data contract, held before anything is trained."""

from prefect.artifacts import create_table_artifact

from tasks.data.ingest import Dataset
from tasks.data.split import SPLITS
from tasks.run import Run
from tasks.stage_task import stage_task
from tasks.stages import StagePlan, StageResult, run_stage
from vision.lineage import PROJECT
from vision.package import sha256_file


@stage_task("validate", tags=["data"])
def validate(run: Run, dataset: Dataset, splits: StageResult) -> StageResult:
    """`contract.json`, Data Docs and a readable page; `made["verdict"]` decides whether the flow goes on."""

    def work(folder):
        import pandas as pd

        from expectations.contract import check_contract

        result = check_contract(pd.read_parquet(splits.folder / SPLITS), run.config, dataset.labels, folder / "docs")
        (folder / "contract.json").write_text(result.model_dump_json(indent=1))
        return result.model_dump(mode="json")

    plan = StagePlan(
        stage="validate",
        section={"contract": run.config.contract.model_dump(mode="json"), "split": run.config.data.split.model_dump()},
        inputs={
            "split_sha": splits.made["split_sha"],
            "labels": list(dataset.labels),
            "page": sha256_file(PROJECT / "expectations" / "page.html.j2"),
        },
        roots=("expectations.contract", "expectations.page"),
    )
    result = run_stage(run.stages, plan, work)
    _show(run.config.system, result)
    return result


def _show(system: str, result: StageResult) -> None:
    rows = [
        {
            "rule": rule["name"],
            "severity": rule["severity"],
            "passed": "yes" if rule["passed"] else "NO",
            "observed": str(rule["observed"]),
            "allowed": str(rule["allowed"]),
            "failing": ", ".join(rule["failing"][:5]),
        }
        for rule in result.made["rules"]
    ]
    about = f"Data contract; page: {result.made['page']}"
    create_table_artifact(key=f"contract-{system.replace('_', '-')}", table=rows, description=about)
