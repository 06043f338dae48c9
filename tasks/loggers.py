"""TensorBoard and Weights & Biases beside MLflow, for people who look at their trainings there."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vision.errors import UserError
from vision.settings import Section

FLUSH_S = 2
"""TensorBoard shows an epoch while the next one runs."""
Log = Callable[[Mapping[str, float], int], None]
"""Called with metrics by name, and their step."""


class LoggedRun(Section):
    """folder: of the system. id: MLflow's, so that a training that goes on after a kill goes on there too."""

    folder: Path
    system: str
    name: str
    id: str
    params: dict[str, Any] = {}


def refuse_absent(names: Sequence[str]) -> None:
    """Raises `UserError` for a logger whose package is not installed."""
    for name in names:
        if find_spec(_PACKAGES[name]) is None:
            raise UserError(
                f"tracking.loggers = [{', '.join(names)}], but {name} is not installed",
                f"loggers that are: {', '.join(known for known in _PACKAGES if find_spec(_PACKAGES[known])) or 'none'}",
                f"install it (uv pip install -e '.[{_EXTRAS[name]}]'), or take it out of tracking.loggers",
            )


@contextmanager
def open_loggers(names: Sequence[str], run: LoggedRun) -> Iterator[Log]:
    """One function for all of `names`, which `refuse_absent` has let through."""
    with ExitStack() as stack:
        logs = [stack.enter_context(_LOGGERS[name](run)) for name in names]

        def log(metrics: Mapping[str, float], step: int) -> None:
            for one in logs:
                one(metrics, step)

        yield log


@contextmanager
def _tensorboard(run: LoggedRun) -> Iterator[Log]:
    """Event files in `<system>/tensorboard/<run>`; tensorboardX writes them without the viewer's packages."""
    from tensorboardX import SummaryWriter

    with SummaryWriter(str(run.folder / "tensorboard" / f"{run.name}_{run.id[:8]}"), flush_secs=FLUSH_S) as writer:

        def log(metrics: Mapping[str, float], step: int) -> None:
            for name, value in metrics.items():
                writer.add_scalar(name, value, step)

        yield log


@contextmanager
def _wandb(run: LoggedRun) -> Iterator[Log]:
    """A run in `<system>/wandb`, offline whatever the environment says: nothing leaves the machine unasked."""
    import wandb

    opened = wandb.init(
        project=run.system,
        name=run.name,
        id=run.id,
        config=run.params,
        dir=str(run.folder),
        mode="offline",
        settings=wandb.Settings(silent=True, console="off", disable_git=True, save_code=False),
    )
    try:
        yield lambda metrics, step: opened.log(dict(metrics), step=step)
    finally:
        opened.finish()


_PACKAGES = {"tensorboard": "tensorboardX", "wandb": "wandb"}
_EXTRAS = {"tensorboard": "train", "wandb": "wandb"}
_LOGGERS = {"tensorboard": _tensorboard, "wandb": _wandb}
