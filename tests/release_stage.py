"""A system with registered versions and a release, made in seconds: packages hold what is checked of them, no weights."""

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

from tasks.audit import read_audit
from tasks.packaging.register import _set_alias
from tasks.releasing.change import releases
from tasks.releasing.step import current_release, gather_evidence, take_step
from tasks.run import Run, open_run
from tasks.tracking import CHALLENGER, CHAMPION, Tracker, Version, alias_version, register_version
from tests.drawn_answers import Drawn
from vision.package import REQUIRED, Spec, seal_package
from vision.release import Release, read_release
from vision.rollout import Step


class ReleaseStage:
    """config: path of the system's YAML. The state folder is what VISIONOPS_STATE says."""

    def __init__(self, config: str) -> None:
        self.config = config
        self.run: Run = open_run(config, {}, "test")

    def train(self, name: str) -> Version:
        """A package that passed its gate: registered, and what follows from that. `name` makes its hash."""
        tracker = self.run.tracker()
        sha = self._package(name)
        version = register_version(tracker, tracker.open_run(name, "resnet18", {}), sha, {})
        _set_alias(self.run, tracker, version)
        return version

    def _package(self, name: str) -> str:
        folder = self.run.packages / f".{name}"
        folder.mkdir(parents=True)
        for file in REQUIRED:
            (folder / file).write_text("{}")
        spec = {"schema": 1, "kind": "classify", "arch": name, "labels": ["a"], "input": {}, "outputs": ["logits"]}
        (folder / "spec.json").write_text(Spec.model_validate(spec).model_dump_json(by_alias=True))
        sha = seal_package(folder)
        if not (self.run.packages / sha).is_dir():
            folder.rename(self.run.packages / sha)
        return sha

    @property
    def release(self) -> Release:
        return read_release(self.run.release_file)

    def drawn(self, seed: int = 0, at: datetime | None = None) -> Drawn:
        """What the service writes down of the release as it is now."""
        return Drawn(self.run.folder, self.release, seed, at or datetime.now(UTC))

    def tracker(self) -> Tracker:
        return self.run.tracker()

    def aliases(self) -> tuple[int | None, int | None]:
        """Versions of champion and challenger."""
        found = [alias_version(self.tracker(), alias) for alias in (CHAMPION, CHALLENGER)]
        return tuple(version.version if version else None for version in found)

    def steps(self) -> list[str]:
        return [row.step for row in releases(self.run)]

    def audited(self) -> list[tuple[str, int]]:
        return [(row["what"], row["version"]) for row in read_audit(self.run.database_url, "tiny")]

    def is_settled(self) -> bool:
        """Do row, alias and file say the same?"""
        rows, release, (champion, challenger) = releases(self.run), self.release, self.aliases()
        known = release.challenger.version if release.challenger else None
        return rows[-1].document == release and champion == release.champion.version and challenger in (known, None)


def own_state(monkeypatch, folder: Path) -> None:
    """The settings of this machine, without what the shell says."""
    for name in [name for name in os.environ if name.startswith("VISIONOPS")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("VISIONOPS_STATE", str(folder))


def take(stage: ReleaseStage, step: Step) -> dict:
    """One step, as the flow takes it; returns its outcome."""
    release = current_release.fn(stage.run)
    return take_step.fn(stage.run, release, gather_evidence.fn(stage.run, release), step)


def canary_stage(config: str, template: Path, folder: Path, monkeypatch) -> ReleaseStage:
    """Version 1 is champion, version 2 its canary, in release 2. A registry takes seconds to make, so it is copied."""
    if not template.exists():
        own_state(monkeypatch, template)
        made = ReleaseStage(config)
        made.train("first")
        made.train("second")
        for to in ("shadow", "canary"):
            take(made, Step(to=to, reasons=("test",)))
    shutil.copytree(template, folder)
    own_state(monkeypatch, folder)
    return ReleaseStage(config)
