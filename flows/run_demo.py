"""The whole spine in one command: train on drawn leaves, gate, register, build the bento, serve it, ask it."""

import sys
import time
from argparse import ArgumentParser

import pandas as pd

from flows.command import ended, finish, guarded
from flows.train_model import train_model
from tasks.environment import prepare
from tasks.packaging.bento import bento_home
from tasks.run import Run, open_run
from vision.kinds import answering

QUESTIONS = 8


def main() -> int:
    parser = ArgumentParser(prog="python -m flows.run_demo", description=__doc__)
    parser.add_argument("--system", default="quickstart")
    parser.add_argument("-v", "--verbose", action="store_true", help="show tracebacks")
    asked = parser.parse_args()
    prepare(asked.verbose)
    return guarded(lambda: demo(asked.system), asked.verbose)


def demo(system: str) -> int:
    started = time.monotonic()
    run = open_run(system, None, reason="demo")
    print(f"VisionOps demo: {run.config.title}\n{run.config.description}\n", flush=True)
    state = ended(train_model, system=system, reason="demo")
    code = finish(state)
    if code != 0:
        return code
    outcome = state.result()
    print(f"\nServing {outcome['bento']} and asking it about {QUESTIONS} images it never saw:\n", flush=True)
    right = ask(run, outcome)
    print(f"\n{right} of {QUESTIONS} right. Done in {time.monotonic() - started:.0f} s. Look at:")
    for name, place in {
        "report": outcome["report"],
        "package": outcome["package"],
        "serve it": f"make serve SYSTEM={system}",
    }.items():
        print(f"  {name:9} {place}")
    return 0


def ask(run: Run, outcome: dict) -> int:
    """Serves the bento on a free port of this machine, posts test images, prints the answers; how many were right."""
    import httpx

    from tasks.packaging.smoke import serving

    rows = pd.read_parquet(outcome["rows"]).sample(frac=1, random_state=0).head(QUESTIONS)
    # A state of its own: the bento answers with what it carries, and nobody takes these for a user's requests.
    env = {"BENTOML_HOME": str(bento_home(run.state.root)), "VISIONOPS_STATE": str(run.folder / "demo-state")}
    log = run.folder / "demo-server.log"
    right = 0
    # trust_env: a proxy that the shell names has nothing to do with this machine's own port.
    with (
        serving(outcome["bento"], run.folder, log, env) as server,
        httpx.Client(base_url=server.url, timeout=30, trust_env=False) as client,
    ):
        for row in rows.to_dict("records"):
            data = (run.dataset_folder / row["path"]).read_bytes()
            answer = client.post("/predict", files={"file": (row["path"], data)}).raise_for_status().json()
            truth = answering(run.config.kind).truth(row, answer)
            right += answer["label"] == truth
            mark = "right" if answer["label"] == truth else f"wrong: {truth}"
            print(f"  {row['path'].rsplit('/', 1)[-1]:32} {answer['label']:20} {answer['confidence']:.2f}  {mark}")
    return right


if __name__ == "__main__":
    sys.exit(main())
