"""Serving speed as ratios, interleaved in one run; medians over rounds. The last line is JSON, the rest is for reading.

For each network and image kind:
  raw_share          requests/s at 64 clients / images/s of the raw limit (decode, preprocess, batched forward; no HTTP)
  cpu_vs_plain       CPU-seconds a request, plain FastAPI + PIL + eager torch handler / ours; and speed_vs_plain
  vs_litserve        requests/s, ours / LitServe with the same engine
  lone_extra_ms      p50 of a lone request less the raw time of one image; again right after a burst of 64 clients
  overload           open loop at 2 times capacity: goodput / capacity, rejections' p95, accepted p95 / p50 at 32 clients
  client_share       of the cores, at 64 clients

Ours runs with a key, rate limit, metrics and records on.
"""

import argparse
import contextlib
import json
import os
import statistics
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load import Load, closed_loop, multipart, open_loop, post
from benchmarks.servers import Served, free_port, ours, peer
from benchmarks.serving_access import make_key
from benchmarks.serving_package import bench_state, draw_images, photos
from benchmarks.serving_raw import RawLimit

CLIENTS = (1, 8, 32, 64)
FULL = 64
DRAWN = 48
TRAINED_ON = 192


@dataclass(frozen=True)
class Scene:
    """One network with one kind of image, and everything that is up for it."""

    name: str
    raw: RawLimit
    ours: Served
    plain: Served
    litserve: Served
    requests: list[bytes]
    forms: list[bytes]
    seconds: float
    cores: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--arch", action="append", choices=("resnet18", "mobilenet_v3_small"))
    parser.add_argument("--images", action="append", choices=("256px", "1080p"))
    parser.add_argument("--state", type=Path, default=Path(".visionops/bench"), help="where the packages are kept")
    asked = parser.parse_args()
    images, labels = draw_images(TRAINED_ON)
    found = {}
    for arch in asked.arch or ("resnet18", "mobilenet_v3_small"):
        package = bench_state(arch, asked.state.absolute(), images, labels)
        for kind in asked.images or ("256px", "1080p"):
            bodies = images[:DRAWN] if kind == "256px" else photos(images[:DRAWN])
            with scene(f"{arch} {kind}", package, asked.state.absolute() / arch, bodies, asked.seconds) as made:
                found[made.name] = measure(made, asked.rounds)
    print(json.dumps(found))


@contextlib.contextmanager
def scene(name: str, package, state: Path, bodies: list[bytes], seconds: float):
    cores = len(os.sched_getaffinity(0))
    header = make_key(state)
    requests = [post("/predict", body, [header]) for body in bodies]
    form = multipart("/predict", bodies[0], "file")
    with contextlib.ExitStack() as stack:
        enter = stack.enter_context
        yield Scene(
            name=name,
            raw=enter(RawLimit(package, bodies, cores)),
            ours=enter(ours(free_port(), cores, state, state / "ours.log", requests[0])),
            plain=enter(peer("plain", free_port(), cores, package.folder, state / "plain.log", form)),
            litserve=enter(peer("litserve", free_port(), cores, package.folder, state / "litserve.log", form)),
            requests=requests,
            forms=[multipart("/predict", body, "file") for body in bodies],
            seconds=seconds,
            cores=cores,
        )


def measure(made: Scene, rounds: int) -> dict:
    print(f"\n{made.name}: {rounds} rounds of raw limit, ours, plain and LitServe at {FULL} clients", flush=True)
    rows = [one_round(made, number + 1) for number in range(rounds)]
    found = {name: round(statistics.median(row[name] for row in rows), 3) for name in rows[0]}
    found |= {f"p50_ms_at_{clients}": at(made, clients) for clients in CLIENTS}
    found |= lone(made) | overload(made, found["ours_per_s"])
    for name, value in found.items():
        print(f"  {name:24} {value}")
    return found


def one_round(made: Scene, number: int) -> dict:
    raw = made.raw.measure(made.seconds)
    mine, mine_cpu, used = loaded(made.ours, made.requests, made)
    plain, plain_cpu, _ = loaded(made.plain, made.forms, made)
    lit, lit_cpu, _ = loaded(made.litserve, made.forms, made)
    row = {
        "raw_per_s": raw.per_second,
        "raw_cpu_ms": raw.cpu_ms,
        "ours_per_s": mine.per_second,
        "ours_cpu_ms": mine_cpu,
        "ours_cores": used,
        "raw_share": mine.per_second / raw.per_second,
        "cpu_vs_plain": plain_cpu / mine_cpu,
        "speed_vs_plain": mine.per_second / plain.per_second,
        "vs_litserve": mine.per_second / lit.per_second,
        "cpu_vs_litserve": lit_cpu / mine_cpu,
        "client_share": mine.client_cpu_s / made.seconds / made.cores,
    }
    text = ", ".join(f"{name} {value:.2f}" for name, value in row.items())
    print(f"  round {number}: {text}", flush=True)
    return row


def loaded(server: Served, requests: list[bytes], made: Scene) -> tuple[Load, float, float]:
    """The load at FULL clients, the server's CPU milliseconds a request, and the cores that it used."""
    before = server.cpu_s()
    load = closed_loop(server.port, requests, FULL, made.seconds)
    cpu = server.cpu_s() - before
    bad = {status: count for status, count in load.statuses.items() if status != 200}
    if bad or load.lost:
        print(f"  ! {load.lost} lost, other statuses {bad}", flush=True)
    return load, 1e3 * cpu / load.sent, cpu / made.seconds


def at(made: Scene, clients: int) -> float:
    return round(closed_loop(made.ours.port, made.requests, clients, made.seconds).percentile_ms(50), 2)


def lone(made: Scene) -> dict:
    """A single client before a burst and right after it, against the raw time of one image."""
    calm, engine = [], []
    for _ in range(3):
        engine.append(made.raw.lone_ms(2))
        calm.append(closed_loop(made.ours.port, made.requests, 1, 2).percentile_ms(50))
    closed_loop(made.ours.port, made.requests, FULL, 3)
    after = closed_loop(made.ours.port, made.requests, 1, 2).percentile_ms(50)
    limit = statistics.median(engine)
    return {
        "lone_raw_ms": round(limit, 2),
        "lone_extra_ms": round(statistics.median(calm) - limit, 2),
        "lone_extra_after_burst_ms": round(after - limit, 2),
        "lone_extra_allowed_ms": round(max(0.2 * limit, 1.5), 2),
    }


def overload(made: Scene, capacity: float) -> dict:
    calm = closed_loop(made.ours.port, made.requests, 32, made.seconds).percentile_ms(50)
    load = open_loop(made.ours.port, made.requests, 2 * capacity, 2 * made.seconds)
    rejected = load.percentile_ms(95, 429)
    recovered = closed_loop(made.ours.port, made.requests, FULL, made.seconds)
    return {
        "overload_goodput": round(load.per_second / capacity, 3),
        "overload_rejected_p50_ms": round(load.percentile_ms(50, 429), 2),
        "overload_rejected_p95_ms": round(rejected, 2),
        "overload_p95_over_p50": round(load.percentile_ms(95) / calm, 2),
        "overload_statuses": load.statuses,
        "overload_lost": load.lost,
        "after_overload": round(recovered.per_second / capacity, 3),
    }


if __name__ == "__main__":
    main()
