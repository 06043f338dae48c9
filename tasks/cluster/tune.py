"""A search on Ray Tune: trials beside each other, poor ones stopped early (ASHA), the next ones chosen by Optuna.

Ray's experiment lies in the stage's folder, so a search that was killed goes on: finished trials are kept, those that ran
go on from their last epoch. At the end it gives way to `trials.json`.
"""

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.tuning import Choice, Domain, TuningConfig, Value, Whole, own_values
from tasks.cluster.resources import machine_resources
from tasks.cluster.session import on_ray
from tasks.cluster.trial import SCORE, SPENT, TrialSettings, run_trial
from tasks.stages import write_json
from tasks.training.start import START, START_REPORT, TrainJob, load_or_make_start
from tasks.training.tuning_record import Trials
from vision.errors import MachineError, UserError
from vision.settings import Section

if TYPE_CHECKING:
    from ray.tune import ResultGrid, Tuner
    from ray.tune.search import Searcher

EXPERIMENT = "tune"
TRIALS = "trials.json"
QUIET = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # files of each trial that nobody reads
    "RAY_AIR_NEW_OUTPUT": "0",  # its own table, beside our lines
    "TUNE_GLOBAL_CHECKPOINT_S": "5",  # a kill loses no more of the search than that
}


class Trial(Section):
    """number: as they began; 0 is the config's own. score: of its best epoch, None for one that had none. epochs: done,
    of those planned; fewer when it was stopped, or when it got no better."""

    number: int
    values: dict[str, Value]
    score: float | None
    epochs: int
    planned: int
    cpu_seconds: float
    failed: str = ""


def tune_on_ray(job: TrainJob, tuning: TuningConfig, folder: Path, trials: Trials) -> list[Trial]:
    """Searches, or goes on with a search that was killed in the same `folder`; `trials` hears of each one.

    Raises `UserError` where no machine has room for a trial, `MachineError` when no trial came to the end of an epoch.
    """
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / TRIALS).is_file():  # killed between this and the stage's end
        _clear(folder)
        return [Trial.model_validate(one) for one in json.loads((folder / TRIALS).read_text())]
    gpus = _gpus_with_room(tuning)
    settings = TrialSettings(job, tuning, folder, load_or_make_start(job, folder), gpus)
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    grid = on_ray(_tuner(settings, trials).fit)
    found = _trials(grid, settings)
    if all(trial.score is None for trial in found):
        raise MachineError(
            f"tuning: none of {len(found)} trials came to the end of an epoch: {_reason(found)}",
            "at least one trial that trains",
            "see Ray's log of the trials; lower training.batch_size or tuning.cpus_per_trial where memory ran out",
        )
    write_json(folder / TRIALS, [trial.model_dump(mode="json") for trial in found])
    _clear(folder)
    return found


def _clear(folder: Path) -> None:
    shutil.rmtree(folder / EXPERIMENT, ignore_errors=True)
    for name in (START, START_REPORT):
        (folder / name).unlink(missing_ok=True)


def best_of(trials: list[Trial]) -> Trial:
    """The highest score; of equal ones the first, so that the config's own settings win a draw."""
    return max((trial for trial in trials if trial.score is not None), key=lambda trial: (trial.score, -trial.number))


def _gpus_with_room(tuning: TuningConfig) -> float:
    """Of one trial. Ray would wait for ever for a machine that is large enough."""
    machines = machine_resources()
    gpus = tuning.gpus_per_trial
    if gpus is None:
        gpus = 1.0 if any(machine.get("GPU", 0) >= 1 for machine in machines) else 0.0
    if not any(m.get("CPU", 0) >= tuning.cpus_per_trial and m.get("GPU", 0) >= gpus for m in machines):
        there = " + ".join(f"{m.get('CPU', 0):g} CPUs and {m.get('GPU', 0):g} GPUs" for m in machines)
        raise UserError(
            f"a trial of tuning asks for {tuning.cpus_per_trial} CPUs and {gpus:g} GPUs on one machine",
            f"what one of the machines has: {there}",
            "lower tuning.cpus_per_trial or tuning.gpus_per_trial, or use a larger cluster (RAY_ADDRESS)",
        )
    return gpus


def _tuner(settings: TrialSettings, trials: Trials) -> "Tuner":
    from ray import tune

    tuning, place = settings.tuning, settings.folder / EXPERIMENT
    needs = {"cpu": tuning.cpus_per_trial, "gpu": settings.gpus}
    trainable = tune.with_resources(tune.with_parameters(run_trial, settings=settings), needs)
    # Without a state file it was killed before its first trial.
    if tune.Tuner.can_restore(str(place)) and any(place.glob("experiment_state-*")):
        return tune.Tuner.restore(str(place), trainable, resume_unfinished=True, restart_errored=True)
    shutil.rmtree(place, ignore_errors=True)
    return tune.Tuner(
        trainable,
        param_space={key: _domain(domain) for key, domain in tuning.space.items()},
        tune_config=tune.TuneConfig(
            metric=SCORE,
            mode="max",
            num_samples=tuning.trials,
            search_alg=_search(settings),
            scheduler=tune.schedulers.ASHAScheduler(
                max_t=max(settings.epochs, tuning.grace_epochs),
                grace_period=tuning.grace_epochs,
                reduction_factor=tuning.reduction_factor,
            ),
            time_budget_s=tuning.budget_s,
        ),
        run_config=tune.RunConfig(
            name=EXPERIMENT,
            storage_path=str(settings.folder),
            verbose=0,
            callbacks=[trials],
            failure_config=tune.FailureConfig(max_failures=settings.job.config.training.max_failures),
            checkpoint_config=tune.CheckpointConfig(num_to_keep=1),
        ),
    )


def _search(settings: TrialSettings) -> "Searcher":
    from ray.tune.search.basic_variant import BasicVariantGenerator
    from ray.tune.search.optuna import OptunaSearch

    tuning, config = settings.tuning, settings.job.config
    first = [own_values(tuning.space, config.model, config.training)]
    if tuning.search == "random":
        return BasicVariantGenerator(points_to_evaluate=first, random_state=tuning.seed)
    return OptunaSearch(points_to_evaluate=first, seed=tuning.seed)


def _domain(domain: Domain) -> Any:
    from ray import tune

    if isinstance(domain, Choice):
        return tune.choice(list(domain.values))
    if isinstance(domain, Whole):
        return tune.randint(domain.low, domain.high + 1)
    return (tune.loguniform if domain.type == "log_float" else tune.uniform)(domain.low, domain.high)


def _trials(grid: "ResultGrid", settings: TrialSettings) -> list[Trial]:
    """In the order in which they began, which is Ray's."""
    return [_trial(number, result, settings) for number, result in enumerate(grid)]


def _trial(number: int, result: Any, settings: TrialSettings) -> Trial:
    told, config = result.metrics or {}, result.config or {}
    return Trial(
        number=number,
        values={key: config[key] for key in settings.tuning.space},
        score=told.get(SCORE),
        epochs=int(told.get("epoch", 0)),
        planned=settings.epochs,
        cpu_seconds=told.get(SPENT, 0.0),
        failed=str(result.error).splitlines()[-1][:200] if result.error else "",
    )


def _reason(found: list[Trial]) -> str:
    return next((trial.failed for trial in found if trial.failed), "the loss was no number in any")
