"""What every task of one flow run needs to know: the system, where its state lies, and why it runs."""

import errno
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout
from pydantic import Field, SecretStr

from configs.load import load_system, settings
from configs.paths import StatePaths
from configs.schema import SystemConfig, config_sha
from tasks.environment import hand_on_login, prepare
from tasks.loggers import refuse_absent
from tasks.services import check_service
from tasks.stages import StageResult
from vision.lineage import git_state
from vision.machine_faults import clear_faults
from vision.settings import Section

if TYPE_CHECKING:
    from tasks.tracking import Tracker


class Tuned(Section):
    """What a search found. values: by the keys of `tuning.space`; stage: its key; parts: of the report's page; found: the stage itself."""

    values: dict[str, Any]
    stage: str
    parts: tuple[dict[str, Any], ...] = ()
    found: StageResult | None = None


class Run(Section):
    config: SystemConfig
    config_sha: str
    state: StatePaths
    dataset_folder: Path
    data_root: Path | None
    weights_root: Path | None
    ray_address: str | None
    dvc_remote: str = Field(repr=False)
    tracking_uri: str = Field(repr=False)
    database_url: str = Field(repr=False)
    alert_webhook: SecretStr | None
    keep_caches_days: float
    reason: str
    window: str | None
    git: dict[str, Any]
    tuned: Tuned | None = None
    """Given once a search has changed `config`."""

    def tracker(self) -> "Tracker":
        """Raises `MachineError` when the registry can't be used now."""
        from tasks.tracking import Tracker

        check_service(self.tracking_uri, "VISIONOPS_MLFLOW_URI")
        # Without a server between, whoever writes must say where files go; MLflow's own choice is the working directory.
        local = not self.tracking_uri.startswith(("http:", "https:"))
        return Tracker(self.tracking_uri, self.state.mlflow_artifacts if local else None, self.config.system)

    @contextmanager
    def single_flight(self, what: str = "training") -> Iterator[None]:
        """One flow of a system at a time: a second one says that it waits, then reuses what the first made.

        what: flows of different kinds go on beside each other.
        """
        lock = FileLock(self.folder / f"{what}.lock")
        try:
            lock.acquire(timeout=1)
        except Timeout:
            print(f"another flow of {self.config.system} is running ({lock.lock_file}); waiting for it", flush=True)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def of(self, system: str) -> "Run":
        """To ask for what another system has made: where its things lie, and its registered models. Its config is not read."""
        return self.model_copy(update={"config": self.config.model_copy(update={"system": system})})

    @property
    def folder(self) -> Path:
        return self.state.system(self.config.system)

    @property
    def stages(self) -> Path:
        return self.state.stages(self.config.system)

    @property
    def packages(self) -> Path:
        return self.state.packages(self.config.system)

    @property
    def release_file(self) -> Path:
        return self.state.release(self.config.system)

    def git_tags(self) -> dict[str, str]:
        return {"git_commit": str(self.git["commit"]), "git_dirty": str(self.git["dirty"]).lower()}


def open_run(
    system: str,
    overrides: dict[str, Any] | None,
    reason: str = "manual",
    window: str | None = None,
    registry: bool = True,
) -> Run:
    """Reads config and settings, makes the state folder. Raises `UserError` or `MachineError` before anything has run.

    registry: False for work that must go on while the registry is away.
    """
    prepare()
    config, machine = load_system(system, overrides or {}), settings()
    hand_on_login(machine)
    if registry:
        refuse_absent(config.tracking.loggers)
    state = StatePaths(machine.state)
    with clear_faults(state.root):
        _make(state.system(config.system))
    run = Run(
        config=config,
        config_sha=config_sha(config),
        state=state,
        dataset_folder=state.dataset(config.system),
        data_root=machine.data,
        weights_root=machine.weights,
        ray_address=machine.ray_address,
        dvc_remote=machine.dvc_remote or str(state.root / "dvc-remote"),
        tracking_uri=machine.mlflow_uri or f"sqlite:///{state.mlflow_db}",
        database_url=machine.database_url or f"sqlite:///{state.state_db}",
        alert_webhook=machine.alert_webhook,
        keep_caches_days=machine.keep_caches_days,
        reason=reason,
        window=window,
        git=git_state(),
    )
    if registry:
        check_service(run.tracking_uri, "VISIONOPS_MLFLOW_URI")
    check_service(run.database_url, "VISIONOPS_DATABASE_URL")
    return run


def _make(folder: Path) -> None:
    """Makes the folder and tries it: a mount may be read-only, and a disk full, that has the folder already."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(errno.ENOTDIR, error.strerror, error.filename) from None
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".writable-") as probe:
        probe.write(bytes(4096))
