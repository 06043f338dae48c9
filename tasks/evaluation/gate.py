"""The gate: thresholds, and the champion on the same test images. A verdict, never an exception."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.packaging.champion import RegisteredPackage, open_champion
from tasks.progress import progress
from tasks.releasing.change import settle
from tasks.run import Run
from tasks.stage_task import stage_task
from tasks.stages import StagePlan, StageResult, run_stage
from tasks.training.trained import Trained
from vision.evaluation.undefined import restored, stored
from vision.verdict import Verdict

if TYPE_CHECKING:
    from vision.evaluation.checks import Check, GateInput
    from vision.evaluation.config import SliceConfig


@stage_task("gate", tags=["evaluation"])
def gate(run: Run, trained: Trained, package: StageResult) -> StageResult:
    """`made`: verdict, champion (version and figures on the same images, or None)."""
    with run.single_flight("release"):
        settle(run)
    champion = open_champion(run)
    if champion is not None and champion.package.package_sha == package.made["package_sha"]:
        champion = None  # it is the champion: there is nobody else to meet

    config, slices = run.config.gate, _slices(run)

    def work(folder):
        return _judged(run, trained, package, champion, folder)

    plan = StagePlan(
        stage="gate",
        section={"gate": config.model_dump(mode="json"), "slices": {name: cut.model_dump() for name, cut in slices.items()}},
        inputs={
            "package": package.key,
            "evaluation": trained.evaluation.key,
            "analysis": trained.analysis.key,
            "champion": champion.package.package_sha if champion else None,
        },
        roots=("vision.evaluation.gate", "vision.evaluation.behaviour", "vision.evaluation.packages", f"vision.kinds.{run.config.kind}",
               f"vision.kinds.{run.config.kind}_learning"),
    )  # fmt: skip
    return run_stage(run.stages, plan, work)


def _slices(run: Run) -> "dict[str, SliceConfig]":
    """Those that the gate holds."""
    return {name: run.config.evaluation.slices[name] for name in run.config.gate.slices}


def _judged(
    run: Run, trained: Trained, package: StageResult, champion: RegisteredPackage | None, folder: Path
) -> dict[str, Any]:
    from vision.evaluation.behaviour import Behaviour, behaviour_gate
    from vision.evaluation.gate import checks, gate_input
    from vision.evaluation.gate import verdict as judged

    config, metrics = run.config.gate, restored(package.made["metrics"])
    candidate = replace(gate_input("candidate", trained.found(), _slices(run)), metrics=metrics)
    stranger = _stranger(trained, champion) if champion else None
    other = _champion_input(run, trained, champion, folder) if champion and not stranger else None
    behaviour = [Behaviour(**one) for one in trained.analysis.made["behaviour"]]
    found = (*checks(candidate, other, config), *behaviour_gate(behaviour, config.behaviour))
    found += (stranger,) if stranger else ()
    verdict = judged(found)
    parity = Verdict.model_validate(package.made["parity"])
    if not parity.passed:
        verdict = Verdict(passed=False, reasons=("parity: " + "; ".join(parity.reasons), *verdict.reasons))
    made = {"verdict": verdict.model_dump(mode="json"), "checks": [asdict(c) for c in found], "champion": None}
    if champion and other:
        made["champion"] = {"version": champion.version, "metrics": stored(other.metrics)}
    (folder / "gate.json").write_text(json.dumps(made, indent=1))
    return made


def _stranger(trained: Trained, champion: RegisteredPackage) -> "Check | None":
    """A champion of other classes than the data has now can't be met; None for one that can."""
    from vision.evaluation.paired import no_common_label
    from vision.kinds import answering

    spec, labels = champion.package.spec, set(trained.rows("test")["label"])
    known = set(answering(spec.kind).vocabulary(spec.labels))
    return None if known & labels else no_common_label(f"v{champion.version}", known, labels)


def _champion_input(run: Run, trained: Trained, champion: RegisteredPackage, scratch: Path) -> "GateInput":
    from vision.evaluation.gate import gate_input
    from vision.evaluation.packages import evaluate_package

    with progress("champion") as bar:
        rows, config = trained.rows("test"), run.config.evaluation
        scored = evaluate_package(champion.package, run.dataset_folder, rows, config, scratch, bar)
    (scratch / "images.npy").unlink()
    return gate_input(f"v{champion.version}", scored.evaluation)
