"""The stage `tune` on a Ray of its own: `python -m tests.integration.killed_search SYSTEM.yaml CACHE`.

VISIONOPS_STATE is where its store and MLflow's database lie. It runs the stage itself, which needs no Prefect server.
"""

import sys
from pathlib import Path

from tasks.data.ingest import Dataset
from tasks.environment import prepare
from tasks.run import open_run
from tasks.stages import StageResult
from tasks.training.pretrain import Start
from tasks.training.tune import _tune

LABELS = ("dark", "light")


def search(system, cache):
    """(the run as the config says, the stage's result)"""
    run = open_run(system, {})
    dataset = Dataset(
        dvc_md5="0" * 32, commit="0" * 40, files=80, labels=LABELS, counts=dict.fromkeys(LABELS, 40), seconds=0.0
    )
    images = StageResult(stage="cache", key="c" * 64, folder=Path(cache), made={}, seconds=0.0, reused=True)
    return run, _tune.__wrapped__(run, dataset, images, Start())


if __name__ == "__main__":
    prepare()
    search(*sys.argv[1:])
