"""Where a trained model errs and how it behaves: chapters for the run's report, and what the gate may hold it to."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.data.ingest import Dataset
from tasks.evaluation.evaluate import trained_model
from tasks.run import Run
from tasks.stage_task import stage_task
from tasks.stages import StagePlan, StageResult, run_stage
from tasks.training.trained import read_evaluation
from vision.package import Spec

if TYPE_CHECKING:
    import numpy as np

    from vision.data.cache import Crops
    from vision.evaluation.behaviour import Behaviour
    from vision.evaluation.config import EvaluationConfig
    from vision.evaluation.report import Part
    from vision.kinds.base import Evaluation

ANALYSIS = (
    "vision.evaluation.error_analysis",
    "vision.evaluation.confused",
    "vision.evaluation.behaviour",
    "vision.exploration.pictures",
    "vision.exploration.likeness",
)
"""What the analysis loads inside functions, where a stage's key doesn't see it."""


@stage_task("analyse", tags=["evaluation"])
def analyse(run: Run, dataset: Dataset, cache: StageResult, model: StageResult, evaluation: StageResult) -> StageResult:
    """`made`: parts (chapters of the report, `vision.evaluation.report.Part`) and behaviour (its checks)."""

    def work(folder):
        import numpy as np

        from vision.data.cache import ImageCache
        from vision.export.runtime import torch_run

        outputs = dict(np.load(evaluation.folder / "outputs_test.npz"))
        spec = Spec.model_validate_json((evaluation.folder / "spec.json").read_text())
        served, found = trained_model(run, dataset, model), read_evaluation(evaluation)
        images = ImageCache.open(cache.folder).crops("test")
        parts, behaviour = analysed(found, (outputs, images), (torch_run(served), spec), run.config.evaluation, folder)
        return {
            "parts": [part.model_dump(mode="json") for part in parts],
            "behaviour": [asdict(one) for one in behaviour],
        }

    kind = run.config.kind
    plan = StagePlan(
        stage="analyse",
        section=run.config.evaluation,
        inputs={"evaluation": evaluation.key, "model": model.key, "cache": cache.key},
        roots=(*ANALYSIS, f"vision.kinds.{kind}", f"vision.kinds.{kind}_learning"),
    )
    return run_stage(run.stages, plan, work)


def analysed(
    found: "Evaluation",
    seen: "tuple[dict[str, np.ndarray], np.ndarray | Crops]",
    model: tuple[Callable[["np.ndarray"], Any], Spec],
    config: "EvaluationConfig",
    folder: Path,
) -> "tuple[tuple[Part, ...], list[Behaviour]]":
    """seen: the model's outputs and the images, of `found.rows`. model: it as a function of images, and its spec."""
    from vision.evaluation.behaviour import behave, behaviour_part, judge_with, pick_images
    from vision.evaluation.error_analysis import error_parts
    from vision.evaluation.slices import mark
    from vision.kinds import answering, learning

    (outputs, images), (run, spec) = seen, model
    picked, singles = (pick_images(found.rows, most) for most in (config.behaviour_images, len(found.rows)))
    marked = mark(found.rows, config.slices).iloc[singles]
    behaviour = behave(judge_with(run, answering(spec.kind), spec), images[picked], marked)
    own = learning(spec.kind).errors(found, images, spec, folder)
    parts = (*own, *error_parts(found, outputs, images, config, folder), behaviour_part(behaviour, len(found.rows)))
    return parts, behaviour
