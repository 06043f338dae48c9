"""Batch scoring on Ray Data: chunks of names go out, each worker writes its chunk's answers, counts come back."""

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock, Timeout
from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.cluster.data import quiet
from tasks.cluster.session import ensure_ray, on_ray
from tasks.progress import progress
from tasks.run import Run
from vision.errors import MachineError, UserError
from vision.package import Package
from vision.scoring import ledger
from vision.scoring.inputs import list_inputs, reader
from vision.scoring.scorer import Scorer

CHUNK_IMAGES = 256
LIMIT_IMAGES = 256
"""The limit is measured on at least so many images, together."""


@dataclass(frozen=True)
class Batch:
    """What a worker needs to know; it travels through Ray. measured: measure the raw limit too."""

    package: Package
    folder: Path
    asked: ledger.Asked
    measured: bool
    max_megapixels: float


@task(name="score", cache_policy=NO_CACHE, persist_result=False, tags=["scoring"])
def score(run: Run, package: Package, source: str, to: Path) -> dict[str, Any]:
    """Scores what `to` has no answers for yet. Returns the summary, with `text` to print."""
    names = list_inputs(source)
    to = to.absolute()
    asked = ledger.ask(run.config.system, package.package_sha, run.config.serving.precision, names, CHUNK_IMAGES)
    with _alone(to):
        todo = ledger.open_ledger(to, asked, names)
        batch = Batch(package, to, asked, len(names) >= 2 * LIMIT_IMAGES, run.config.serving.max_megapixels)
        done = _score_on_ray(run, batch, todo) if todo else []
        found = ledger.count_rows(to, asked)
        summary = _summary(run, asked, source, found, speed(done))
        summary["resumed"] = len(todo) < asked.chunks
        ledger.write_summary(to, summary)
    return summary | {"text": _text(summary, to)}


@contextmanager
def _alone(to: Path) -> Iterator[None]:
    """One run works on `to` at a time; the system lets go of a killed one's lock."""
    lock = FileLock(f"{to}.lock")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=1)
    except Timeout:
        raise UserError(f"another run is scoring into {to}", "one run at a time in a folder", "wait for it") from None
    except OSError as error:
        raise UserError(f"TO={to}: {error.strerror}", "a folder that can be written", "choose another TO") from None
    try:
        yield
    finally:
        lock.release()


def _score_on_ray(run: Run, batch: Batch, todo: list[int]) -> list[dict[str, Any]]:
    ensure_ray(run.ray_address)
    with progress("score") as bar, quiet():
        sizes = [min(CHUNK_IMAGES, batch.asked.images - chunk * CHUNK_IMAGES) for chunk in todo]
        before, total = batch.asked.images - sum(sizes), batch.asked.images
        if before:
            bar(before, total, "scored before")
        return on_ray(lambda: _answers(batch, todo, lambda done: bar(before + done, total)))


def _answers(batch: Batch, todo: Iterable[int], on_progress: Callable[[int], None]) -> list[dict[str, Any]]:
    """One small row a chunk. A worker's clear mistake comes back as a value: Ray keeps only the text of what is raised."""
    import ray
    import ray.data

    workers = max(1, int(ray.available_resources().get("CPU", 1)))
    blocks = [pd.DataFrame({"chunk": [chunk]}) for chunk in todo]
    rows, done = [], 0
    scored = ray.data.from_pandas(blocks).map_batches(
        ScoreChunk,
        fn_constructor_args=(batch,),
        batch_format="pandas",
        batch_size=None,
        compute=ray.data.ActorPoolStrategy(size=min(workers, len(blocks))),
        num_cpus=1,
    )
    for row in scored.iter_rows():
        if row["mistake"]:
            kind, *told = json.loads(row["mistake"])
            raise {"UserError": UserError, "MachineError": MachineError}[kind](*told)
        rows.append(row)
        done += row["images"]
        on_progress(done)
    return rows


class ScoreChunk:
    """A Ray actor: one engine with one thread, and the chunks it is handed. Times are of this process's clock."""

    def __init__(self, batch: Batch) -> None:
        self.batch, self.limit = batch, 0.0
        self.scorer = Scorer(batch.package, reader(), batch.asked.precision, 1, batch.max_megapixels)
        names = pd.read_csv(batch.folder / ledger.INPUTS, dtype=str, keep_default_na=False)["path"]
        self.names = names.tolist()

    def __call__(self, chunks: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame([self._one(int(chunk)) for chunk in chunks["chunk"]])

    def _one(self, chunk: int) -> dict[str, Any]:
        found = {"chunk": chunk, "images": 0, "worker": f"{os.uname().nodename}-{os.getpid()}", "mistake": ""}
        names = ledger.chunk_names(self.names, self.batch.asked, chunk)
        try:
            _ = self.scorer.engine  # loading it is no part of the speed
            start = time.monotonic()
            rows, files = self.scorer.score(names)
            ledger.write_chunk(self.batch.folder, chunk, rows)
            end = time.monotonic()
            if self.batch.measured and not self.limit and len(files) >= LIMIT_IMAGES // 2:
                self.limit = len(files) / self.scorer.raw_seconds(files)
        except (UserError, MachineError) as error:
            return _timed(found | {"mistake": json.dumps([type(error).__name__, error.got, error.allowed, error.do])})
        return _timed(found | {"images": len(names), "sampled": len(files)}, start, end, self.limit)


def _timed(found: dict[str, Any], start: float = 0.0, end: float = 0.0, limit: float = 0.0) -> dict[str, Any]:
    return {"sampled": 0, **found, "start": start, "end": end, "back": time.monotonic(), "limit": limit}


@dataclass(frozen=True)
class Speed:
    """images_per_s: of all workers while they worked, gaps between their chunks included, start-up not. raw_per_s: the same
    workers with decoding, preprocessing and engine alone. None: too few images to tell.
    """

    images_per_s: float | None = None
    raw_per_s: float | None = None
    share_of_raw: float | None = None
    sampled: int = 0


def speed(done: list[dict[str, Any]]) -> Speed:
    """done: rows of `ScoreChunk`, of this run."""
    if not done:
        return Speed()
    table, rate, raw, sampled = pd.DataFrame(done), 0.0, 0.0, 0
    for _, own in table.sort_values("start").groupby("worker"):
        measuring = float((own["back"] - own["end"])[:-1].sum())  # the last one's lies after its work
        rate += own["images"].sum() / (own["end"].max() - own["start"].min() - measuring)
        raw += own["limit"].max()
        sampled += int(own["sampled"].where(own["limit"] > 0, 0).max())
    if sampled < LIMIT_IMAGES or (table.groupby("worker")["limit"].max() == 0).any():
        return Speed(rate)
    return Speed(rate, raw, rate / raw, sampled)


def _summary(run: Run, asked: ledger.Asked, source: str, found: dict[str, Any], measured: Speed) -> dict[str, Any]:
    return {
        **asked.model_dump(),
        **found,
        "source": source,
        "speed": asdict(measured),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "git": run.git,
    }


def _text(summary: dict[str, Any], to: Path) -> str:
    lines = [f"{summary['images']:,} images scored by package {summary['package_sha'][:12]}"]
    lines += [f"  {label:24} {count:>8,}" for label, count in summary["answers"].items()]
    lines.append(f"  {'unreadable':24} {summary['unreadable']:>8,}")
    measured = summary["speed"]
    if measured["images_per_s"] is None:
        lines.append("  nothing was left to score")
    else:
        limit = f", {measured['share_of_raw']:.2f} of the raw limit" if measured["share_of_raw"] else ""
        lines.append(f"  {measured['images_per_s']:,.1f} images/s{limit}")
    return "\n".join([*lines, f"  answers  {to / ledger.SCORES}", f"  summary  {to / ledger.SUMMARY}"])
