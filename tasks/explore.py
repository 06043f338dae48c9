"""What the data looks like: class sizes by split, and a grid of images. Pictures that the run's report shows."""

from tasks.run import Run
from tasks.split import SPLITS
from tasks.stage_task import stage_task
from tasks.stages import StagePlan, StageResult, run_stage


@stage_task("explore", tags=["data"])
def explore(run: Run, splits: StageResult) -> StageResult:
    """`made["pictures"]`: PNG files."""

    def work(folder):
        import pandas as pd

        from vision.evaluation.galleries import sample_grid
        from vision.evaluation.plots import class_distribution

        table = pd.read_parquet(splits.folder / SPLITS, columns=["path", "label", "split"])
        pictures = [
            class_distribution(table, folder / "classes.png"),
            sample_grid(table, run.dataset_folder, folder / "samples.png", run.config.evaluation.grid_images),
        ]
        counts = table.loc[table["split"].notna(), "label"].value_counts()
        return {
            "pictures": [str(path) for path in pictures],
            "imbalance": float(counts.max() / counts.min()) if len(counts) else None,
        }

    plan = StagePlan(
        stage="explore",
        section={"grid_images": run.config.evaluation.grid_images},
        inputs={"split_sha": splits.made["split_sha"]},
        roots=("vision.evaluation.plots", "vision.evaluation.galleries", "vision.preprocess"),
    )
    return run_stage(run.stages, plan, work)
