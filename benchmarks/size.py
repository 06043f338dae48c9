"""Time and memory of every stage of `train_model` against the number of images. The last line is JSON.

Draws leaves of 32 and of 256 px (once: the folder is kept, and so is each measured case, so that a broken run goes on),
runs the whole flow on some, more and all of them in a fresh state folder, and reads the times and peaks of each stage
off the running processes. Writes docs/size.md and docs/size.png.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
import yaml

from benchmarks.process_tree import TreeWatch
from benchmarks.size_page import summary, write_page
from configs.load import settings
from vision.data.config import DrawnSource
from vision.data.synthetic.dataset import draw_dataset
from vision.data.synthetic.leaves import CLASSES

LOST_GATE = 3
CPUINFO = Path("/proc/cpuinfo")
STAGES = ("describe", "split", "validate", "explore", "cache", "train", "evaluate", "analyse", "export")
INPUT = {32: {"side_px": 32, "resize_px": 32}, 256: {"side_px": 224, "resize_px": 256}}


@dataclass(frozen=True)
class Case:
    side_px: int
    images: int

    @property
    def name(self) -> str:
        return f"{self.side_px}px_{self.images}"


COUNTS = {32: (4_000, 15_000, 60_000), 256: (1_200, 5_000, 20_000)}
CASES = tuple(Case(side_px, images) for side_px, counts in COUNTS.items() for images in counts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=settings().state / "size")
    parser.add_argument("--only", nargs="*", choices=[case.name for case in CASES], help="cases; default: all")
    parser.add_argument("--fresh", action="store_true", help="measure again what was measured")
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="where size.md and size.png go")
    asked = parser.parse_args()
    work, cases = asked.work.absolute(), [case for case in CASES if not asked.only or case.name in asked.only]
    if asked.fresh:
        shutil.rmtree(work / "results", ignore_errors=True)
    found = [measured(work, case) for case in cases]
    write_page(found, asked.docs)
    print(json.dumps(summary(found)))


def measured(work: Path, case: Case) -> dict:
    """What `measure` found, now or earlier."""
    kept = work / "results" / f"{case.name}.json"
    if not kept.is_file():
        source = make_source(work, case)
        kept.parent.mkdir(parents=True, exist_ok=True)
        result = measure(work / "states" / case.name, case, source)
        kept.write_text(json.dumps(result, indent=1))
    return json.loads(kept.read_text())


def make_source(work: Path, case: Case) -> Path:
    """A folder of classes with the first `case.images` drawn leaves, as hard links to them."""
    drawn, each = work / "drawn" / f"{case.side_px}px", case.images // len(CLASSES)
    drawn.mkdir(parents=True, exist_ok=True)
    draw_dataset(DrawnSource(type="drawn", images_per_class=each, side_px=case.side_px), drawn, say_every(2000))
    source = work / "sources" / case.name
    shutil.rmtree(source, ignore_errors=True)
    for label in CLASSES:
        (source / label).mkdir(parents=True)
        for file in sorted((drawn / "images" / label).glob("*.jpg"))[:each]:
            os.link(file, source / label / file.name)
    return source


def say_every(images: int):
    return lambda done, total: print(f"drawn {done}/{total}", flush=True) if done % images == 0 else None


def measure(state: Path, case: Case, source: Path) -> dict:
    """Runs `train_model` twice, the second time with nothing to do. The state folder is removed afterwards."""
    shutil.rmtree(state, ignore_errors=True)
    state.mkdir(parents=True)
    system, machine = write_system(state, case, source), about_machine()
    stages = run_flow(state, system)
    again = run_flow(state, system)
    shutil.rmtree(state)
    # Somebody who edits the source meanwhile makes stages run again: then that figure is none.
    reused = not set(STAGES) & set(again)
    return {"case": asdict(case), **machine, "stages": stages, "again": again["all"] if reused else None}


def about_machine() -> dict:
    """Where it was measured, and what else the machine had to do as it began."""
    model = next(
        line.split(":")[1].strip() for line in CPUINFO.read_text().splitlines() if line.startswith("model name")
    )
    memory_gib = psutil.virtual_memory().total / 2**30
    return {"cpu": model, "cores": len(os.sched_getaffinity(0)), "memory_gib": memory_gib, "load": os.getloadavg()[0]}


def write_system(state: Path, case: Case, source: Path) -> Path:
    """A system of one epoch. Its gate asks for the impossible, so the flow ends before registry and bento."""
    epoch = [{"name": "all", "epochs": 1, "trainable": "all", "lr": 1.0e-3}]
    config = {
        "system": "size",
        "title": f"{case.images} drawn leaves of {case.side_px} px",
        "kind": "classify",
        "data": {"source": {"type": "folder", "path": str(source)}},
        "input": INPUT[case.side_px],
        "model": {"arch": "mobilenet_v3_small", "weights": "random"},
        # One thread: two that wait for each other spin on a machine with other work, and CPU-seconds mean nothing.
        "training": {
            "batch_size": 64,
            "cpus_per_worker": 1,
            "precision": "float32",
            "stages": epoch,
            "stages_from_scratch": epoch,
        },
        "gate": {"minimum": {"accuracy": 1.0}},
    }
    path = state / "size.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path


def run_flow(state: Path, system: Path) -> dict[str, dict[str, float]]:
    """Stage -> what it took. Raises `RuntimeError` when the flow didn't end at its gate."""
    folders = {"VISIONOPS_STATE": state, "PREFECT_HOME": state / "prefect", "BENTOML_HOME": state / "bentoml"}
    env = {**os.environ, **{name: str(folder) for name, folder in folders.items()}}
    command = [sys.executable, "-m", "flows.train_model", "--system", str(system), "--reason", "benchmark"]
    start = time.time()
    with (
        (state / "errors.log").open("w") as errors,
        subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=errors, text=True) as flow,
        TreeWatch(flow.pid) as watch,
    ):
        lines = [(time.time(), line) for line in flow.stdout]
    if flow.returncode != LOST_GATE:
        raise RuntimeError(f"the flow ended with {flow.returncode}: {(state / 'errors.log').read_text()[-3000:]}")
    phases = {**ingest_phases(state, lines), **stage_phases(state, start), "all": (start, time.time())}
    return {name: watch.between(*phase) for name, phase in phases.items()}


def ingest_phases(state: Path, lines: list[tuple[float, str]]) -> dict[str, tuple[float, float]]:
    """Copying the images, and versioning them with DVC: told apart by the line that ends the copying."""
    made = next(state.glob("systems/*/dataset.json"))
    end = made.stat().st_mtime
    start = end - json.loads(made.read_text())["seconds"]
    copied = next(at for at, line in reversed(lines) if line.strip().startswith("ingest "))
    return {"ingest: copy": (start, copied), "ingest: DVC": (copied, end)}


def stage_phases(state: Path, since: float) -> dict[str, tuple[float, float]]:
    """Start and end of each stage that ran since then: `stage.json` is written at its end and says how long it took."""
    phases = {}
    for done in state.glob("systems/*/stages/*/*/stage.json"):
        record, end = json.loads(done.read_text()), done.stat().st_mtime
        if record["stage"] in STAGES and end > since:
            phases[record["stage"]] = (end - record["seconds"], end)
    return dict(sorted(phases.items(), key=lambda phase: phase[1]))


if __name__ == "__main__":
    main()
