"""Servers as processes on this machine: started, waited for, measured by their CPU time, stopped by their own ids."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

START_TIMEOUT_S, STOP_TIMEOUT_S = 120, 15


@dataclass(frozen=True)
class Served:
    port: int
    pid: int

    @property
    def tree(self) -> list[psutil.Process]:
        root = psutil.Process(self.pid)
        return [root, *root.children(recursive=True)]

    def cpu_s(self) -> float:
        """CPU seconds of all its processes so far."""
        found = 0.0
        for process in self.tree:
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                found += times.user + times.system
        return found

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Its processes get no CPU meanwhile: a server may be busy with waiting."""
        tree = self.tree
        for process in tree:
            process.suspend()
        try:
            yield
        finally:
            for process in tree:
                process.resume()

    def footprint(self) -> dict[str, float]:
        """Resident memory, open file handles and threads of all its processes."""
        tree = self.tree
        return {
            "rss_mib": sum(process.memory_info().rss for process in tree) / 2**20,
            "handles": sum(process.num_fds() for process in tree),
            "threads": sum(process.num_threads() for process in tree),
        }


@contextlib.contextmanager
def server(
    command: Sequence[str], port: int, log: Path, ready: bytes, env: Mapping[str, str] | None = None
) -> Iterator[Served]:
    """Runs `python <command>` until the block ends; `ready`: a request that it must answer with 200 before that."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *command], stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})}, start_new_session=True,
        )  # fmt: skip
    try:
        _wait(process, port, log, ready)
        yield Served(port, process.pid)
    finally:
        _end(process)


def _end(process: subprocess.Popen) -> None:
    """Asks the server to stop; what of it is still there after `STOP_TIMEOUT_S` is killed, each by its own id."""
    tree = []
    with contextlib.suppress(psutil.NoSuchProcess):
        tree = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_TIMEOUT_S)
    # BentoML's workers have sessions of their own: their parent's group does not name them.
    for each in tree:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    process.kill()
    process.wait()


def ours(port: int, workers: int, state: Path, log: Path, ready: bytes, env: Mapping[str, str] | None = None):
    """`bentoml serve .` for the champion in `state`."""
    root = Path(__file__).resolve().parent.parent
    command = ["-m", "bentoml", "serve", str(root), "--host", "127.0.0.1", "--port", str(port)]
    more = {"VISIONOPS_STATE": str(state), "VISIONOPS_SYSTEM": "quickstart", "BENTOML_DO_NOT_TRACK": "True"}
    more["VISIONOPS__SERVING__WORKERS"] = str(workers)
    return server(command, port, log, ready, {**more, **(env or {})})


def peer(name: str, port: int, workers: int, package: Path, log: Path, ready: bytes):
    command = ["-m", "benchmarks.serving_peers", name, "--package", str(package), "--port", str(port)]
    return server([*command, "--workers", str(workers)], port, log, ready)


def stop_servers_on_term() -> None:
    """A benchmark that is told to end leaves no server behind."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait(process: subprocess.Popen, port: int, log: Path, ready: bytes) -> None:
    stop = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < stop:
        if process.poll() is not None:
            break
        if _answers(port, ready):
            return
        time.sleep(0.3)
    raise SystemExit(f"the server did not start; its last words:\n{log.read_text(errors='replace')[-3000:]}")


def _answers(port: int, request: bytes) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(request)
            return connection.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False
