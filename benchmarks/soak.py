"""Mixed traffic for minutes: does the service grow? `python -m benchmarks.soak --minutes 5`. The last line is JSON.

Clients ask at random for predictions of good, bad and huge images, leave before their answer or in the middle of their
body, send slowly, give feedback, ask for explanations, metrics and the page. Memory, file handles and threads of all
processes of the server are sampled; growth is the slope over the second half, for each 10,000 requests. Ends with 1 when
a request was answered 5xx, got no answer, or one of them grew.
"""

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import numpy as np

from benchmarks.load import post
from benchmarks.servers import Served, free_port, ours, stop_servers_on_term
from benchmarks.serving_access import make_key
from benchmarks.serving_package import bench_state, draw_images
from benchmarks.soak_requests import ASKS, WEIGHTS, Traffic
from configs.load import settings

EVERY_S = 2.0
PER = 10_000
TIMEOUT_S = 60
GROWN = {"rss_mib": 5.0, "handles": 1.0, "threads": 1.0}
"""Slopes that count as growth. A steady server's threads go up and down by a few; its memory creeps for a while."""
IMAGES = 64


@dataclass
class Soak:
    """counts: by kind of request and what came of it. samples: requests so far, seconds, and the footprint."""

    counts: dict[str, Counter] = field(default_factory=dict)
    samples: list[dict[str, float]] = field(default_factory=list)
    asked: int = 0

    def count(self, kind: str, outcome: str) -> None:
        self.asked += 1
        self.counts.setdefault(kind, Counter())[outcome] += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--clients", type=int, default=12)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--network", default="mobilenet_v3_small")
    parser.add_argument("--work", type=Path, default=settings().state / "bench", help="where the package is kept")
    asked = parser.parse_args()
    stop_servers_on_term()
    images, labels = draw_images(IMAGES)
    work = asked.work.absolute()
    bench_state(asked.network, work, images, labels)
    state = work / asked.network
    name, key = make_key(state, scopes=("predict", "feedback"))
    ready = post("/predict", images[0], [(name, key)])
    with ours(free_port(), asked.workers, state, state / "soak.log", ready) as server:
        soak = asyncio.run(
            run(server, asked, Traffic(f"http://127.0.0.1:{server.port}", {name: key}, images, labels[0]))
        )
    found = report(soak)
    print(json.dumps(found))
    sys.exit(0 if found["steady"] else 1)


async def run(server: Served, asked: argparse.Namespace, traffic: Traffic) -> Soak:
    soak, start = Soak(), time.monotonic()
    stop = start + 60 * asked.minutes
    timeout, limit = aiohttp.ClientTimeout(TIMEOUT_S), aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(timeout=timeout, connector=limit) as session:
        clients = [asyncio.create_task(client(session, traffic, soak, number, stop)) for number in range(asked.clients)]
        while time.monotonic() < stop:
            soak.samples.append({"asked": soak.asked, "s": time.monotonic() - start, **server.footprint()})
            await asyncio.sleep(EVERY_S)
        await asyncio.gather(*clients)
    return soak


async def client(session: aiohttp.ClientSession, traffic: Traffic, soak: Soak, seed: int, stop: float) -> None:
    rng = np.random.default_rng(seed)
    while time.monotonic() < stop:
        kind = str(rng.choice(list(ASKS), p=WEIGHTS))
        try:
            outcome = await ASKS[kind](session, traffic, rng)
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            outcome = f"lost: {type(error).__name__}"
        soak.count(kind, outcome)


def report(soak: Soak) -> dict:
    half = soak.samples[len(soak.samples) // 2 :]
    growth = {what: slope(half, what) for what in GROWN}
    bad = {
        f"{kind} {outcome}": count
        for kind, counts in soak.counts.items()
        for outcome, count in counts.items()
        if outcome.startswith(("5", "lost"))
    }
    for sample in soak.samples[:: max(1, len(soak.samples) // 20)]:
        print("  ".join(f"{name} {value:,.0f}" for name, value in sample.items()))
    for kind, counts in sorted(soak.counts.items()):
        print(f"{kind:12}", dict(sorted(counts.items())))
    return {
        "requests": soak.asked,
        "minutes": round(soak.samples[-1]["s"] / 60, 1),
        "growth_per_10000": {what: round(value, 2) for what, value in growth.items()},
        "last": {what: round(half[-1][what]) for what in growth},
        "bad": bad,
        "steady": not bad and all(growth[what] < most for what, most in GROWN.items()),
    }


def slope(samples: list[dict[str, float]], what: str) -> float:
    """Least squares: of `what`, for each 10,000 requests."""
    asked = np.array([sample["asked"] for sample in samples]) / PER
    return float(np.polyfit(asked, [sample[what] for sample in samples], 1)[0])


if __name__ == "__main__":
    main()
