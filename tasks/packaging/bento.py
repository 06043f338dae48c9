"""A bento for every registered version, and the proof that it answers like its package."""

import os
from pathlib import Path

from tasks.run import Run
from tasks.stage_task import stage_task
from tasks.stages import StagePlan, StageResult, run_stage
from tasks.tracking import Version
from vision.lineage import PROJECT
from vision.package import open_package


def bento_home(state: Path) -> Path:
    """The bento store: BENTOML_HOME, else one in the state folder, so that two checkouts' `v1` never meet."""
    return Path(os.environ.get("BENTOML_HOME") or state / "bentoml").absolute()


@stage_task("build", tags=["serving"])
def build(run: Run, package: StageResult, version: Version) -> StageResult:
    """`made["tag"]`: `visionops_<system>:v<N>`."""
    from tasks.packaging.build_bento import bento_folder, bento_tag, build_bento, source_sha

    home, sha = bento_home(run.state.root), package.made["package_sha"]

    def work(folder):
        labels = {"system": run.config.system, "run_id": version.run_id, **run.git_tags()}
        return {"tag": build_bento(run.packages / sha, run.config.system, version.version, PROJECT, labels, home)}

    tag = bento_tag(run.config.system, version.version)
    plan = StagePlan(
        stage="build",
        inputs={"package_sha": sha, "tag": tag, "home": str(home), "carries": source_sha(PROJECT)},
        roots=("tasks.packaging.build_bento",),
    )
    return run_stage(run.stages, plan, work, whole=lambda made: bento_folder(home, made["tag"]).is_dir())


@stage_task("smoke", tags=["serving"], timeout_seconds=300)
def smoke(run: Run, package: StageResult, bento: StageResult) -> StageResult:
    """Serves the bento on loopback and asks it about the golden images. `made`: verdict, ready_s."""

    def work(folder):
        from tasks.packaging.smoke import serving
        from tasks.packaging.smoke import smoke as ask

        # A state of its own: the bento shall answer with what it carries, and its golden images are nobody's requests.
        env = {"BENTOML_HOME": str(bento_home(run.state.root)), "VISIONOPS_STATE": str(folder / "state")}
        with serving(bento.made["tag"], folder, folder / "server.log", env) as server:
            verdict = ask(server.url, open_package(run.packages / package.made["package_sha"]))
        return {"verdict": verdict.model_dump(mode="json"), "ready_s": round(server.ready_s, 2)}

    plan = StagePlan(stage="smoke", inputs={"build": bento.key}, roots=("tasks.packaging.smoke",))
    # A failure is asked again: it may have been the machine's.
    return run_stage(run.stages, plan, work, whole=lambda made: made["verdict"]["passed"])
