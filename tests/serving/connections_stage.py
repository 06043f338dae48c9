"""A listening socket and workers that share it, as BentoML starts them, but with an app that says who answered."""

import asyncio
import contextlib
import http.client
import multiprocessing
import os
import socket
import struct
from pathlib import Path

import uvicorn

from bentos.connections import server as module
from bentos.connections.server import Refusal, Server, stand_in

CONTEXT = multiprocessing.get_context("fork")
COUNT = [0]
"""Requests that a worker's app has met, but those that ask for this number."""
IDLE_S = 3
FULL = Refusal(429, b"content-length: 4\r\n\r\nfull", closes=False)
LEAVE = Refusal(429, b"content-length: 5\r\nconnection: close\r\n\r\nleave", closes=True)


async def app(scope, receive, send) -> None:
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    while (await receive()).get("more_body"):
        pass
    if scope["path"] == "/slow":
        await asyncio.sleep(0.5)
    if scope["path"] == "/full":  # further in, as the service does
        await send({"type": "http.response.start", "status": 429, "headers": [(b"content-length", b"4")]})
        await send({"type": "http.response.body", "body": b"full"})
        return
    if scope["path"] in ODD:
        await ODD[scope["path"]](send)
        return
    if scope["path"] != "/count":
        COUNT[0] += 1
    body = str(COUNT[0] if scope["path"] == "/count" else os.getpid()).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


async def in_parts(send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-kind", b"parts")]})
    await send({"type": "http.response.body", "body": b"one ", "more_body": True})
    await send({"type": "http.response.body", "body": b"two"})


async def without_body(send) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


async def fails_after_head(send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    raise RuntimeError("no body comes")


async def too_short(send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})
    await send({"type": "http.response.body", "body": b"short"})


async def split_header(send) -> None:
    headers = [(b"content-length", b"2"), (b"x-name", b"a\r\nset-cookie: b")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok"})


ODD = {f"/{each.__name__}": each for each in (in_parts, without_body, fails_after_head, too_short, split_header)}
"""Answers that do not leave in one piece."""


def turn_away(scope, crowded) -> Refusal | None:
    if scope["path"] == "/leave":
        return LEAVE
    if scope["path"] != "/full":
        return None
    return LEAVE if crowded() else FULL


def worker(listener: socket.socket, folder: Path, workers: int) -> None:
    stand_in(workers, lambda: folder, turn_away)
    config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="on", timeout_keep_alive=IDLE_S)
    uvicorn.Server(config).run(sockets=[listener])


class Workers:
    """`count` processes on one port."""

    def __init__(self, folder: Path, count: int) -> None:
        assert module.uvicorn.Server is not Server  # nothing of this stays in the tests' own process
        self.folder, self.count = folder, count
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        self.processes = [self.start() for _ in range(count)]

    def start(self):
        process = CONTEXT.Process(target=worker, args=(self.listener, self.folder, self.count))
        process.start()
        return process

    def stop(self) -> None:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.join(10)
            with contextlib.suppress(ValueError):
                process.kill()
        self.listener.close()

    def connect(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.connect()
        return connection


def ask(connection: http.client.HTTPConnection, path: str = "/", body: bytes | None = None) -> tuple[int, str]:
    connection.request("POST", path, body)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def packets(connection: socket.socket) -> int:
    """With data, that came so far: `tcpi_data_segs_in` of Linux (tcp(7), linux/tcp.h)."""
    return struct.unpack_from("I", connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256), 152)[0]
