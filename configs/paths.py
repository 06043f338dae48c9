"""Where things lie in the state folder (DESIGN section 9). Makes no folder."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class StatePaths:
    """root: the state folder, `Settings.state`; made absolute, since a flow's working directory may change."""

    root: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", Path(self.root).absolute())

    @property
    def datasets(self) -> Path:
        """A git and DVC repository of its own; a dataset is a folder in it."""
        return self.root / "datasets"

    @property
    def mlflow_db(self) -> Path:
        return self.root / "mlflow.db"

    @property
    def mlflow_artifacts(self) -> Path:
        return self.root / "mlartifacts"

    @property
    def state_db(self) -> Path:
        return self.root / "state.db"

    def dataset(self, system: str) -> Path:
        return self.datasets / system

    @property
    def systems(self) -> tuple[str, ...]:
        """Those that have a folder."""
        return tuple(sorted(path.name for path in (self.root / "systems").glob("*") if path.is_dir()))

    def system(self, system: str) -> Path:
        return self.root / "systems" / system

    def stages(self, system: str) -> Path:
        return self.system(system) / "stages"

    def stage(self, system: str, stage: str, key: str) -> Path:
        """The folder of one run of a stage; `stage.json` in it is written last."""
        return self.stages(system) / stage / key

    def packages(self, system: str) -> Path:
        return self.system(system) / "packages"

    def package(self, system: str, package_sha: str) -> Path:
        return self.packages(system) / package_sha

    def records(self, system: str) -> Path:
        return self.system(system) / "records"

    def feedback(self, system: str) -> Path:
        return self.system(system) / "feedback"

    def failures(self, system: str) -> Path:
        """On what challengers failed."""
        return self.system(system) / "failures"

    def inbox(self, system: str) -> Path:
        return self.system(system) / "inbox"

    def queue(self, system: str) -> Path:
        """`<no>/`: images that people are asked to label."""
        return self.system(system) / "queue"

    def labelled(self, system: str) -> Path:
        """Served images with the labels that people gave them."""
        return self.system(system) / "labelled"

    def release(self, system: str) -> Path:
        return self.system(system) / "release.json"

    def profile(self, device: str, package_sha: str) -> Path:
        """What the tuner measured for one package on one device."""
        return self.root / "profiles" / device / f"{package_sha}.json"
