"""What every task of one flow run needs to know: the system, where its state lies, and why it runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout
from pydantic import SecretStr

from configs.load import load_system, settings
from configs.paths import StatePaths
from configs.schema import SystemConfig, config_sha
from tasks.environment import prepare
from vision.lineage import git_state
from vision.settings import Section

if TYPE_CHECKING:
    from tasks.tracking import Tracker


class Run(Section):
    config: SystemConfig
    config_sha: str
    state: StatePaths
    dataset_folder: Path
    data_root: Path | None
    weights_root: Path | None
    ray_address: str | None
    dvc_remote: str
    tracking_uri: str
    database_url: str
    alert_webhook: SecretStr | None
    reason: str
    window: str | None
    git: dict[str, Any]

    def tracker(self) -> "Tracker":
        from tasks.tracking import Tracker

        local = self.tracking_uri.startswith("sqlite:")
        return Tracker(self.tracking_uri, self.state.mlflow_artifacts if local else None, self.config.system)

    @contextmanager
    def single_flight(self) -> Iterator[None]:
        """One training of a system at a time: a second one says that it waits, then reuses what the first made."""
        lock = FileLock(self.folder / "training.lock")
        try:
            lock.acquire(timeout=1)
        except Timeout:
            print(f"another flow of {self.config.system} is running ({lock.lock_file}); waiting for it", flush=True)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

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


def open_run(system: str, overrides: dict[str, Any] | None, reason: str = "manual", window: str | None = None) -> Run:
    """Reads config and settings, makes the state folder. Raises `UserError` before anything has run."""
    prepare()
    config, machine = load_system(system, overrides or {}), settings()
    state = StatePaths(machine.state)
    state.system(config.system).mkdir(parents=True, exist_ok=True)
    return Run(
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
        reason=reason,
        window=window,
        git=git_state(),
    )
