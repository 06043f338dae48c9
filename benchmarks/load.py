"""A load generator that costs little: raw HTTP/1.1 over asyncio protocols, in a process of its own.

A client of the usual kind spends a good part of a millisecond a request, which on two cores would be measured as the
server's. The requests are made beforehand; of an answer only the status line and the length are read.
"""

import asyncio
import itertools
import multiprocessing
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from threading import Thread

import numpy as np
import psutil

DRAIN_S = 20.0
RAMP_S = 1.0
"""A closed loop's answers count from here on: before it, as after its end, a batch that is under way would weigh in."""
READY = 64
"""Connections that an open loop has before it begins; more are made when all are busy."""


@dataclass
class Load:
    """What came of a load. statuses: answers, from the first to the last. latencies_ms: by status, of those that count
    towards the rate. lost: requests that got no answer. client_cpu_s: its own CPU time, without its start.
    machine_cpu_s: of all processes of the machine. wall_s: until the last answer. late_ms: how late the requests of an
    open loop were sent, at the 95th percentile.
    """

    seconds: float = 0.0
    lost: int = 0
    client_cpu_s: float = 0.0
    machine_cpu_s: float = 0.0
    wall_s: float = 0.0
    late_ms: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    latencies_ms: dict[int, list[float]] = field(default_factory=dict)

    @property
    def per_second(self) -> float:
        return len(self.latencies_ms.get(200, ())) / self.seconds

    def percentile_ms(self, percent: float, status: int = 200) -> float:
        found = self.latencies_ms.get(status)
        return float(np.percentile(found, percent)) if found else float("nan")


def post(path: str, body: bytes, headers: Sequence[tuple[str, str]] = (), content_type: str = "image/jpeg") -> bytes:
    """A whole POST request with a raw body, keep-alive."""
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
    ]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def multipart(path: str, body: bytes, field_name: str, headers: Sequence[tuple[str, str]] = ()) -> bytes:
    """The same as a form with one file."""
    head = f'--b\r\nContent-Disposition: form-data; name="{field_name}"; filename="x.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
    return post(path, head.encode() + body + b"\r\n--b--\r\n", headers, "multipart/form-data; boundary=b")


def closed_loop(port: int, requests: Sequence[bytes], clients: int, seconds: float) -> Load:
    """`clients` connections, each with one request in flight at all times."""
    return _apart(_closed, port, requests, clients, seconds)


def open_loop(port: int, requests: Sequence[bytes], rate: float, seconds: float) -> Load:
    """`rate` requests a second whatever the server does; latency counts from when each was sent, or began to connect."""
    return _apart(_open, port, requests, rate, seconds)


def _apart(work: Callable, *args) -> Load:
    return _generator().submit(_measured, work, *args).result()


@cache
def _generator() -> ProcessPoolExecutor:
    """One process for all loads, up from the first one to our own end: its start takes most of a second."""
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), initializer=_end_with_parent)


def _end_with_parent() -> None:
    """A pool's process would wait for work for ever when its parent was killed."""
    parent = multiprocessing.parent_process()
    Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()


def _measured(work: Callable, *args) -> Load:
    import uvloop

    wall_s, start_s, busy_s = time.perf_counter(), time.process_time(), machine_busy_s()
    load = uvloop.run(work(*args))
    load.wall_s = time.perf_counter() - wall_s
    load.client_cpu_s, load.machine_cpu_s = time.process_time() - start_s, machine_busy_s() - busy_s
    return load


def machine_busy_s() -> float:
    times = psutil.cpu_times()
    return times.user + times.nice + times.system + times.irq + times.softirq


class Connection(asyncio.Protocol):
    """One connection; `done(connection, status)` is called for each answer, with status 0 when it was lost."""

    def __init__(self, done: Callable[["Connection", int], None]) -> None:
        self.done, self.buffer, self.missing, self.status, self.at = done, b"", -1, 0, 0.0
        self.busy, self.ends = False, False
        """ends: the server closes it after this answer."""

    def connection_made(self, transport) -> None:
        self.transport = transport

    def send(self, request: bytes, at: float) -> None:
        self.busy, self.at = True, at
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        if self.missing < 0:
            self.buffer += data
            head, found, rest = self.buffer.partition(b"\r\n\r\n")
            if not found:
                return
            self.status = int(head[9:12])
            lines = head.lower().split(b"\r\n")
            self.ends = b"connection: close" in lines
            length = next(line for line in lines if line.startswith(b"content-length:"))
            self.missing, self.buffer = int(length[15:]) - len(rest), b""
        else:
            self.missing -= len(data)
        if self.missing <= 0:
            self.missing, self.busy = -1, False
            self.done(self, self.status)

    def connection_lost(self, error) -> None:
        if self.busy:
            self.busy = False
            self.done(self, 0)


async def _closed(port: int, requests: Sequence[bytes], clients: int, seconds: float) -> Load:
    load, bodies, ended = Load(), itertools.cycle(requests), asyncio.Event()
    start = time.perf_counter() + RAMP_S
    stop = start + seconds

    def done(connection: Connection, status: int) -> None:
        now = time.perf_counter()
        _count(load, status, now - connection.at, within=start <= now <= stop)
        if now < stop and status and connection.ends:
            again = asyncio.create_task(renew(connection))
            renewed.add(again)
            again.add_done_callback(renewed.discard)
        elif now < stop and status:
            go(connection)
        elif not renewed and not any(other.busy for other in connections):
            ended.set()

    def go(connection: Connection) -> None:
        connection.send(next(bodies), time.perf_counter())

    async def renew(connection: Connection) -> None:
        """As a client does whose connection was closed with an answer."""
        connections[connections.index(connection)] = fresh = await _connect(port, done)
        go(fresh)

    connections, renewed = [await _connect(port, done) for _ in range(clients)], set()
    for connection in connections:
        go(connection)
    await _until(ended, RAMP_S + seconds + DRAIN_S)
    return _finish(load, connections, seconds)


async def _open(port: int, requests: Sequence[bytes], rate: float, seconds: float) -> Load:
    load, bodies, late_s, pending = Load(), itertools.cycle(requests), [], set()

    def done(connection: Connection, status: int) -> None:
        now = time.perf_counter()
        _count(load, status, now - connection.at, within=True)
        if status and not connection.ends:
            idle.append(connection)

    async def send_anew(request: bytes, at: float) -> None:
        connections.append(await _connect(port, done))
        connections[-1].send(request, at)

    connections = [await _connect(port, done) for _ in range(READY)]
    idle, start = deque(connections), time.perf_counter()
    for number in range(int(rate * seconds)):
        due = start + number / rate
        if due > time.perf_counter():
            await asyncio.sleep(due - time.perf_counter())
        late_s.append((now := time.perf_counter()) - due)
        while idle and idle[0].transport.is_closing():
            idle.popleft()
        if idle:
            idle.popleft().send(next(bodies), now)
        else:
            task = asyncio.create_task(send_anew(next(bodies), now))
            pending.add(task)
            task.add_done_callback(pending.discard)
    stop = time.perf_counter() + DRAIN_S
    while (pending or any(connection.busy for connection in connections)) and time.perf_counter() < stop:
        await asyncio.sleep(0.01)
    load.late_ms = float(np.percentile(late_s, 95)) * 1e3
    return _finish(load, connections, seconds)


async def _connect(port: int, done: Callable[[Connection, int], None]) -> Connection:
    _, connection = await asyncio.get_running_loop().create_connection(lambda: Connection(done), "127.0.0.1", port)
    return connection


def _count(load: Load, status: int, seconds: float, within: bool) -> None:
    """An answer that comes before or after the measured time counts as answered, but not towards the rate."""
    if not status:
        load.lost += 1
        return
    load.statuses[status] += 1
    if within:
        load.latencies_ms.setdefault(status, []).append(seconds * 1e3)


async def _until(event: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return


def _finish(load: Load, connections: Sequence[Connection], seconds: float) -> Load:
    load.seconds = seconds
    load.lost += sum(connection.busy for connection in connections)
    for connection in connections:
        connection.busy = False
        connection.transport.close()
    return load
