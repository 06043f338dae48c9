"""What is measured of one scene.

rounds, each with 64 clients: the raw limit (decode, preprocess, batched forward; no HTTP), ours with raw bodies, and
with the same multipart forms the plain handler, LitServe, ours again, and ours in INT8 where the package may. Images or
requests a second, CPU of all processes of the server, and what the rest of the machine was busy with.
curve: requests a second at fewer clients. lone: one client against the raw time of one image, and right after a burst.
overload: an open loop at 2 times what 64 clients got.
"""

import contextlib
import statistics
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.load import closed_loop, open_loop
from benchmarks.servers import Served
from benchmarks.serving_raw import RawLimit

FULL = 64
CURVE, CURVES = (1, 8, 32), ("ours", "plain", "litserve")
CALM = 32
"""Clients whose p50 the overload's p95 is held to."""
LONE_ROUNDS = 3
LONE_SHARE, LONE_MS = 0.2, 1.5
Row = dict[str, float]


@dataclass(frozen=True)
class Int8Scene:
    """The same network quantised, behind a server of its own."""

    raw: RawLimit
    ours: Served
    forms: list[bytes]


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
    int8: Int8Scene | None = None

    @property
    def servers(self) -> dict[str, tuple[Served, list[bytes]]]:
        """What takes turns in a round, in this order: the plain handler between those that are held to it."""
        found = {
            "ours": (self.ours, self.requests),
            "litserve": (self.litserve, self.forms),
            "ours_form": (self.ours, self.forms),
            "plain": (self.plain, self.forms),
        }
        return found if self.int8 is None else found | {"int8_form": (self.int8.ours, self.int8.forms)}


def measure(made: Scene, rounds: int) -> dict:
    """rounds, curve: as they were measured; medians: what the page and the targets go by."""
    print(f"\n{made.name}: {rounds} rounds at {FULL} clients", flush=True)
    for server, requests in made.servers.values():
        closed_loop(server.port, requests, FULL, 1.0)
    rows = [one_round(made, number + 1) for number in range(rounds)]
    found = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
    with alone(made, "ours"):
        found |= lone(made) | overload(made, found["ours_per_s"])
    for name, value in found.items():
        print(f"  {name:28} {value:.4g}", flush=True)
    return {"seconds": made.seconds, "rounds": rows, "medians": found, "curve": curve(made, found)}


@contextlib.contextmanager
def alone(made: Scene, name: str = "") -> Iterator[None]:
    """All servers but this one are stopped: LitServe's waiting takes a tenth of a core."""
    kept = made.servers[name][0] if name else None
    with contextlib.ExitStack() as stack:
        for server in {server.pid: server for server, _ in made.servers.values()}.values():
            if server is not kept:
                stack.enter_context(server.stopped())
        yield


def one_round(made: Scene, number: int) -> Row:
    with alone(made):
        raw = made.raw.measure(made.seconds)
        int8 = made.int8.raw.measure(made.seconds) if made.int8 else None
    row = {"raw_per_s": raw.per_second, "raw_cpu_ms": raw.cpu_ms}
    for name in made.servers:
        row |= {f"{name}_{what}": value for what, value in loaded(made, name).items()}
    row |= {
        "raw_share": row["ours_per_s"] / raw.per_second,
        "raw_cpu_share": raw.cpu_ms / row["ours_cpu_ms"],
        "cpu_vs_plain": row["plain_cpu_ms"] / row["ours_form_cpu_ms"],
        "speed_vs_plain": row["ours_form_per_s"] / row["plain_per_s"],
        "vs_litserve": row["ours_form_per_s"] / row["litserve_per_s"],
        "cpu_vs_litserve": row["litserve_cpu_ms"] / row["ours_form_cpu_ms"],
    }
    if int8 is not None:
        row |= {
            "int8_raw_cpu_ms": int8.cpu_ms,
            "int8_cpu_vs_plain": row["plain_cpu_ms"] / row["int8_form_cpu_ms"],
            "int8_speed_vs_plain": row["int8_form_per_s"] / row["plain_per_s"],
        }
    print(f"  round {number}: " + ", ".join(f"{name} {value:.3g}" for name, value in row.items()), flush=True)
    return row


def loaded(made: Scene, name: str) -> Row:
    """cpu_ms: of a request that was answered; what refusals cost is in it. refused: of the whole load, its start too.
    other_cores: busy with neither server nor client; what the machine's own work cost us."""
    server, requests = made.servers[name]
    with alone(made, name):
        cpu_s = server.cpu_s()
        load = closed_loop(server.port, requests, FULL, made.seconds)
        cpu_s = server.cpu_s() - cpu_s
    bad = {status: count for status, count in load.statuses.items() if status != 200}
    if bad or load.lost:
        print(f"  ! {name}: {load.lost} lost, other statuses {bad}", flush=True)
    return {
        "per_s": load.per_second,
        "cpu_ms": 1e3 * cpu_s / max(1, load.statuses[200]),
        "cores": cpu_s / load.wall_s,
        "client_cores": load.client_cpu_s / load.wall_s,
        "other_cores": max(0.0, load.machine_cpu_s - cpu_s - load.client_cpu_s) / load.wall_s,
        "p50_ms": load.percentile_ms(50),
        "p95_ms": load.percentile_ms(95),
        "refused": float(sum(bad.values())),
    }


def curve(made: Scene, full: Row) -> dict[str, dict[str, list[float]]]:
    """Server -> requests a second and p50 at each of CURVE, a second each, and at FULL."""
    found = {name: {"clients": [], "per_s": [], "p50_ms": []} for name in CURVES}
    for clients in CURVE:
        for name, line in found.items():
            server, requests = made.servers[name]
            with alone(made, name):
                load = closed_loop(server.port, requests, clients, 1.0)
            _add(line, clients, load.per_second, load.percentile_ms(50))
    for name, line in found.items():
        _add(line, FULL, full[f"{name}_per_s"], full[f"{name}_p50_ms"])
    return found


def _add(line: dict[str, list[float]], clients: int, per_s: float, p50_ms: float) -> None:
    line["clients"].append(clients)
    line["per_s"].append(per_s)
    line["p50_ms"].append(p50_ms)


def lone(made: Scene) -> Row:
    """A single client against the raw time of one image in one process, in turn; and right after a burst."""
    limit, calm, after = [], [], []
    for _ in range(LONE_ROUNDS):
        limit.append(made.raw.lone_ms(1))
        calm.append(closed_loop(made.ours.port, made.requests, 1, 1).percentile_ms(50))
        closed_loop(made.ours.port, made.requests, FULL, 1)
        after.append(closed_loop(made.ours.port, made.requests, 1, 1).percentile_ms(50))
    raw_ms = statistics.median(limit)
    return {
        "lone_raw_ms": raw_ms,
        "lone_extra_ms": statistics.median(calm) - raw_ms,
        "lone_extra_after_burst_ms": statistics.median(after) - raw_ms,
        "lone_extra_allowed_ms": max(LONE_SHARE * raw_ms, LONE_MS),
    }


def overload(made: Scene, capacity: float) -> Row:
    """rejected_*: 429s, connecting included. late: the generator's own delay, which is in none of the latencies."""
    port, requests = made.ours.port, made.requests
    calm = closed_loop(port, requests, CALM, made.seconds).percentile_ms(50)
    load = open_loop(port, requests, 2 * capacity, 2 * made.seconds)
    recovered = closed_loop(port, requests, FULL, made.seconds)
    unexpected = sum(count for status, count in load.statuses.items() if status not in (200, 429))
    return {
        "overload_goodput": load.per_second / capacity,
        "overload_rejected_p50_ms": load.percentile_ms(50, 429),
        "overload_rejected_p95_ms": load.percentile_ms(95, 429),
        "overload_late_p95_ms": load.late_ms,
        "overload_client_cores": load.client_cpu_s / load.wall_s,
        "overload_p95_over_p50": load.percentile_ms(95) / calm,
        "overload_rejected": float(len(load.latencies_ms.get(429, ()))),
        "overload_lost": float(load.lost + unexpected),
        "after_overload": recovered.per_second / capacity,
    }
