"""What share of the raw limit does batch scoring reach? One worker's engine, over a minute of work. The last line is JSON.

Raw is decoding, preprocessing and the engine alone, on bytes that are in memory already; scoring is what `make score` does
with the same files: it reads them ahead, hashes, answers, makes the table and writes it. The two take turns chunk by chunk,
each first in every other round, so that whatever else the machine does meets both alike. Ray's part (workers' start, gaps
between chunks) is not in it: `make score` tells the share with that in its summary.
"""

import argparse
import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.drift_records import champion
from configs.load import settings
from vision.data.synthetic.dataset import image_seed
from vision.data.synthetic.leaves import CLASSES, draw_leaf
from vision.data.synthetic.scene import encode, jpeg_quality
from vision.package import open_package
from vision.scoring import ledger
from vision.scoring.inputs import reader
from vision.scoring.scorer import Scorer

SEED, SIDE_PX, CHUNK_IMAGES = 77_003, 256, 128
"""SEED: of no data set that a system is made from."""
GOAL = 0.95


@dataclass(frozen=True)
class Took:
    """Of one chunk: seconds by the clock, and of this process's cores."""

    wall_s: float
    cpu_s: float


@dataclass(frozen=True)
class Share:
    """Raw seconds for one second of scoring, over all rounds; low, high: 95 % bootstrap interval over the rounds."""

    share: float
    low: float
    high: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--package", type=Path, help="default: quickstart's champion")
    parser.add_argument("--precision", default="auto", choices=("auto", "float32", "bfloat16", "int8"))
    parser.add_argument("--seconds", type=float, default=60, help="of scoring, and as much of raw work")
    parser.add_argument("--work", type=Path, default=settings().state / "scoring")
    asked = parser.parse_args()
    package = open_package(asked.package or champion(Path(settings().state), "quickstart"))
    names = draw_files(asked.work / "images")
    scorer = Scorer(package, reader(), asked.precision)
    scored, raw = rounds(scorer, names, asked.work / "answers", asked.seconds)
    found = {
        "package": package.package_sha[:12],
        "arch": package.spec.arch,
        "precision": scorer.engine[1],
        "rounds": len(scored),
        "scoring_s": round(sum(one.wall_s for one in scored), 1),
        "images_per_s": round(len(scored) * CHUNK_IMAGES / sum(one.wall_s for one in scored), 1),
        "wall": asdict(share([one.wall_s for one in raw], [one.wall_s for one in scored])),
        "cpu": asdict(share([one.cpu_s for one in raw], [one.cpu_s for one in scored])),
        "goal": GOAL,
    }
    print(json.dumps(found))


def draw_files(folder: Path) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(CHUNK_IMAGES):
        path = folder / f"{number:04d}.jpg"
        if not path.is_file():
            seed = image_seed(SEED, "scoring", number)
            picture, _ = draw_leaf(CLASSES[number % len(CLASSES)], seed, SIDE_PX)
            path.write_bytes(encode(picture, jpeg_quality(seed, "field")))
    return sorted(map(str, folder.glob("*.jpg")))


def rounds(scorer: Scorer, names: Sequence[str], out: Path, seconds: float) -> tuple[list[Took], list[Took]]:
    """(scored, raw), a chunk each, until scoring alone has taken `seconds`."""
    files = [Path(name).read_bytes() for name in names]
    shutil.rmtree(out, ignore_errors=True)
    ledger.chunk_file(out, 0).parent.mkdir(parents=True)
    scored: list[Took] = []
    raw: list[Took] = []
    lanes = [
        (scored, lambda: ledger.write_chunk(out, len(scored), scorer.score(names)[0])),
        (raw, lambda: scorer.raw_seconds(files)),
    ]
    for _, work in lanes:
        work()  # the engine loads, pages come in
    while sum(one.wall_s for one in scored) < seconds:
        for took, work in lanes if len(scored) % 2 else lanes[::-1]:
            took.append(timed(work))
    return scored, raw


def timed(work: Callable[[], object]) -> Took:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Took(time.perf_counter() - wall, time.process_time() - cpu)


def share(raw: Sequence[float], scored: Sequence[float], samples: int = 2000) -> Share:
    one, other = np.array(raw), np.array(scored)
    picks = np.random.default_rng(0).integers(len(one), size=(samples, len(one)))
    low, high = np.quantile(one[picks].sum(axis=1) / other[picks].sum(axis=1), (0.025, 0.975))
    return Share(*(round(float(value), 4) for value in (one.sum() / other.sum(), low, high)))


if __name__ == "__main__":
    main()
