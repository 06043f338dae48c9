"""MLflow: one experiment and one registered model a system, one run a training; versions, tags and aliases."""

import json
import logging
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from filelock import FileLock

from vision.settings import Section

CHAMPION, CHALLENGER = "champion", "challenger"


class Tracker:
    """MLflow seen from one system. `uri`: the tracking and registry server, or a SQLite file."""

    def __init__(self, uri: str, artifacts: Path | None, system: str) -> None:
        import mlflow

        logging.getLogger("mlflow").setLevel(logging.WARNING)  # its import sets INFO
        self.uri, self.artifacts, self.system = uri, artifacts, system
        mlflow.set_tracking_uri(uri)
        # A first client makes SQLite's tables; of two processes that do so at once both would fail.
        with FileLock(f"{uri.partition('///')[2]}.lock") if uri.startswith("sqlite:") else nullcontext():
            self.client = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)

    def experiment_id(self) -> str:
        found = self.client.get_experiment_by_name(self.system)
        location = (self.artifacts / self.system).as_uri() if self.artifacts else None
        if found:
            if location and found.artifact_location != location and self._lies_with_artifacts():
                move_artifacts(self.uri, found.artifact_location, location)
            return found.experiment_id
        return self.client.create_experiment(self.system, artifact_location=location)

    def _lies_with_artifacts(self) -> bool:
        """A database elsewhere may be that of several state folders: it is no sign that one was moved."""
        return Path(self.uri.partition("///")[2]).parent == self.artifacts.parent

    def open_run(self, stage_key: str, name: str, tags: Mapping[str, str]) -> str:
        """The run of this training: the one that a killed process left behind, else a new one. Returns its id."""
        experiment = self.experiment_id()
        where = f"tags.stage_key = '{stage_key}' and attributes.status != 'FINISHED'"
        for left in self.client.search_runs([experiment], where, max_results=1):
            self.client.update_run(left.info.run_id, status="RUNNING")
            return left.info.run_id
        run = self.client.create_run(experiment, run_name=name, tags={"stage_key": stage_key, **tags})
        return run.info.run_id

    def known_run(self, run_id: str, stage_key: str) -> str | None:
        """`run_id` where this registry has it, else a run of the same stage, None when there is neither."""
        from mlflow.exceptions import MlflowException

        experiment = self.experiment_id()
        try:
            if self.client.get_run(run_id).info.lifecycle_stage == "active":
                return run_id
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
        others = self.client.search_runs([experiment], f"tags.stage_key = '{stage_key}'", max_results=1)
        return others[0].info.run_id if others else None

    def close_left_runs(self, run_id: str, where: str) -> None:
        """Marks as killed what is still RUNNING beside `run_id` and came from `where`: a flow that is gone left it.

        where: the tag `state` of such runs, a place where one training runs at a time.
        """
        still = f"tags.state = '{where}' and attributes.status = 'RUNNING'"
        for left in self.client.search_runs([self.experiment_id()], still):
            if left.info.run_id != run_id:
                logging.getLogger(__name__).warning("run %s was never ended: now KILLED", left.info.run_id)
                self.client.set_terminated(left.info.run_id, "KILLED")

    def log_params(self, run_id: str, params: Mapping[str, Any]) -> None:
        """A parameter that the run has already stays: MLflow refuses a change, and a run that goes on after a kill may
        have another config where its training does not look (a gate's threshold, say).
        """
        from mlflow.entities import Param

        known = self.client.get_run(run_id).data.params
        new = [Param(key, str(value)[:6000]) for key, value in params.items() if key not in known]
        self.client.log_batch(run_id, params=new)

    def log_metrics(self, run_id: str, metrics: Mapping[str, float], step: int = 0) -> None:
        """One call for all of them: MLflow's SQLite takes 30-40 ms a call, whatever is in it."""
        import time

        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        rows = [Metric(key, float(value), now, step) for key, value in metrics.items() if value == value]
        self.client.log_batch(run_id, metrics=rows)

    def last_epoch(self, run_id: str) -> int:
        """The last epoch whose record the run has; 0 at its start."""
        return int(self.client.get_run(run_id).data.metrics.get("epoch", 0))

    def log_dataset(self, run_id: str, name: str, source: Path, dvc_md5: str, rows: int) -> None:
        """The data version as an MLflow dataset input: digest and tag are DVC's hash."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        dataset = Dataset(
            name=name, digest=dvc_md5[:8], source_type="dvc", source=json.dumps({"path": str(source), "md5": dvc_md5}),
            profile=json.dumps({"images": rows}),
        )  # fmt: skip
        tags = [InputTag("mlflow.data.context", "training"), InputTag("dvc.md5", dvc_md5)]
        self.client.log_inputs(run_id, datasets=[DatasetInput(dataset, tags)])

    def log_folder(self, run_id: str, folder: Path, name: str) -> None:
        self.client.log_artifacts(run_id, str(folder), name)

    def close_run(self, run_id: str) -> None:
        """Finished; one that was closed before keeps its end time."""
        if self.client.get_run(run_id).info.status == "RUNNING":
            self.client.set_terminated(run_id, "FINISHED")


def move_artifacts(uri: str, old: str, new: str) -> None:
    """Tells a database that lies in the state folder where its files are now: MLflow keeps whole paths, and the folder
    may have been moved. MLflow has no call for it.
    """
    from sqlalchemy import create_engine, text

    engine = create_engine(uri)
    with engine.begin() as connection:
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
            change = f"UPDATE {table} SET {column} = :new || substr({column}, length(:old) + 1)"
            where = f"{column} = :old OR substr({column}, 1, length(:old) + 1) = :old || '/'"
            connection.execute(text(f"{change} WHERE {where}"), {"old": old, "new": new})
    engine.dispose()


class Version(Section):
    """A registered model version. `fresh`: made by this call, not found."""

    version: int
    run_id: str
    package_sha: str
    fresh: bool


def register_version(tracker: Tracker, run_id: str, package_sha: str, tags: Mapping[str, str]) -> Version:
    """The version that holds this package: the one there is, else a new one pointing at the run's `package/<package_sha>`."""
    from mlflow.exceptions import MlflowException

    found = find_version(tracker, package_sha)
    if found:
        return found
    try:
        tracker.client.create_registered_model(tracker.system)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    made = tracker.client.create_model_version(
        tracker.system, source=f"runs:/{run_id}/package/{package_sha}", run_id=run_id,
        tags={"package_sha": package_sha, **tags},
    )  # fmt: skip
    return Version(version=int(made.version), run_id=run_id, package_sha=package_sha, fresh=True)


def find_version(tracker: Tracker, package_sha: str) -> Version | None:
    where = f"name = '{tracker.system}' and tags.package_sha = '{package_sha}'"
    for found in tracker.client.search_model_versions(where, max_results=1):
        return Version(version=int(found.version), run_id=found.run_id, package_sha=package_sha, fresh=False)
    return None


def alias_version(tracker: Tracker, alias: str) -> Version | None:
    """The version that carries `alias`, None when there is none (or no registered model yet)."""
    from mlflow.exceptions import MlflowException

    try:
        found = tracker.client.get_model_version_by_alias(tracker.system, alias)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise
    return Version(version=int(found.version), run_id=found.run_id, package_sha=found.tags["package_sha"], fresh=False)


def version_sha(tracker: Tracker, version: int) -> str | None:
    """The package of a registered version, None where this registry has no such version."""
    from mlflow.exceptions import MlflowException

    try:
        return tracker.client.get_model_version(tracker.system, str(version)).tags.get("package_sha")
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise
