"""The whole loop on drawn data: train, serve, drift, alarm, retrain, shadow, canary, promote, roll back, trace.

Real Prefect server and worker, real service, real traffic, in a state folder of its own that starts anew each time.
"""

import shutil
import sys
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from configs.load import load_system, settings
from configs.paths import StatePaths
from configs.schema import SystemConfig
from flows.command import AGAINST, DONE, guarded
from tasks.environment import prepare
from tasks.loop.chapters import TRAIN_S, Scene, drift, healthy, promote, recovery, refuse_bad, retrain, trace_one
from tasks.loop.stack import local_stack
from tasks.loop.story import Story
from tasks.loop.traffic import Traffic, client_tokens
from tasks.packaging.smoke import serving
from vision.data.config import DrawnSource
from vision.errors import UserError
from vision.lineage import PROJECT

CLIENTS = 40
TRAFFIC_SEED = 20_251
PER_S = 2.0
QUICK = {
    "VISIONOPS__RELEASE__CANARY_SHARE": "0.25",
    "VISIONOPS__RELEASE__CANARY_ANSWERS": "120",
    "VISIONOPS__RETRAINING__MIN_NEW_LABELS": "100000",
    "VISIONOPS__SERVING__ACCESS__REQUESTS_PER_MINUTE": "100000",
}
"""What makes the story short: a wide canary that needs fewer answers, and labels that start no training of their own."""


def main(argv: Sequence[str] | None = None) -> int:
    parser = ArgumentParser(prog="python -m flows.run_loop", description=__doc__)
    parser.add_argument("--system", default="quickstart", help="a system whose images are drawn")
    parser.add_argument("-v", "--verbose", action="store_true", help="show tracebacks")
    asked = parser.parse_args(argv)
    prepare(asked.verbose)
    return guarded(lambda: run_loop(asked.system), asked.verbose)


def run_loop(system: str) -> int:
    """0 when every goal was reached, 3 otherwise. The page says what was seen either way."""
    config, state = load_system(system), settings().state.absolute() / "loop"
    if not isinstance(config.data.source, DrawnSource):
        raise UserError(f"system {system!r} has images of its own", "a system whose images are drawn", "quickstart")
    shutil.rmtree(state, ignore_errors=True)
    story = Story(f"{config.title}: the loop")
    with ready(config, state, story) as (scene, first_run):
        passport: dict[str, str] = {}
        try:
            healthy(scene)
            before = drift(scene)
            version = retrain(scene, first_run)
            if version is not None:
                promote(scene, version)
                recovery(scene, before)
                refuse_bad(scene)
            passport = trace_one(scene)
        finally:
            sent = list(scene.traffic.sent)
            failed = [one for one in sent if one.status != 200]
            story.goal("no request fails in all of it", f"{len(failed)} of {len(sent):,}", not failed)
            story.figure("requests failed", str(len(failed)), f"of {len(sent):,}")
            links = {"state folder": str(state), "windows of the monitor": str(scene.folder / "monitor" / "windows")}
            page = story.write(state / "report", sent, links, passport)
            print(
                "\n" + "\n".join(f"{figure.name:24} {figure.value}" for figure in story.figures) + f"\nreport: {page}"
            )
    return DONE if all(goal.reached for goal in story.goals) else AGAINST


@contextmanager
def ready(config: SystemConfig, state: Path, story: Story) -> Iterator[tuple[Scene, object]]:
    """Prefect and its worker run, a first model is trained and served, and a trickle of clients asks it."""
    system, secret = config.system, state / "client-secret"
    tokens = client_tokens(secret, CLIENTS)
    key = f'{{"algorithm": "HS256", "key_file": "{secret}"}}'
    env = {**QUICK, "VISIONOPS_STATE": str(state), "VISIONOPS_SYSTEM": system, "BENTOML_HOME": str(state / "bentoml")}
    env["VISIONOPS__SERVING__ACCESS__TOKEN"] = key
    env |= own_services(StatePaths(state))
    with ExitStack() as opened:
        with story.chapter("A Prefect server, a worker and the deployments") as chapter:
            stack = opened.enter_context(local_stack(state / "stack", env, system))
            chapter.tell(stack.api)
        with story.chapter("The first model (train-model through the worker)") as chapter:
            run = stack.run(f"train-model/{system}", TRAIN_S, reason="loop: the first model")
            chapter.tell(f"{run.name}: {run.state.name}")
        server = opened.enter_context(serving(".", PROJECT, state / "service.log", env))
        traffic = Traffic(server.url, tokens, config.data.source, TRAFFIC_SEED)
        opened.enter_context(traffic.trickle(PER_S))
        yield Scene(system, state, stack, story, traffic), run.id


def own_services(paths: StatePaths) -> dict[str, str]:
    """Registry, database and data versions in the state folder, whatever this machine's settings name."""
    return {
        "VISIONOPS_MLFLOW_URI": f"sqlite:///{paths.mlflow_db}",
        "VISIONOPS_DATABASE_URL": f"sqlite:///{paths.state_db}",
        "VISIONOPS_DVC_REMOTE": str(paths.root / "dvc-remote"),
    }


if __name__ == "__main__":
    sys.exit(main())
