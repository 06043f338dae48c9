"""A Ray cluster of several nodes on this machine, by `ray start`, with a token; each node can be lost on its own."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

RAY = Path(sys.executable).with_name("ray")
QUICK = {
    "RAY_health_check_initial_delay_ms": "500",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
}
"""A lost node is seen after a second or two instead of some twenty."""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@dataclass
class Node:
    """One `ray start --block` and all that it started."""

    process: subprocess.Popen
    log: Path

    def lose(self) -> None:
        """SIGKILL to all of it at once, as when the power goes."""
        own = psutil.Process(self.process.pid)
        family = [own, *own.children(recursive=True)]
        for member in family:
            try:
                member.send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(family, timeout=20)
        self.process.wait(20)


class Cluster:
    """`env`: what a driver needs to join it. Sockets lie under a short path of its own: they may have 107 characters."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))
        token = self.folder / "token"
        token.write_text(secrets.token_hex(32))
        self.address = f"127.0.0.1:{free_port()}"
        self.nodes: list[Node] = []
        clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        self.base = {**clean, **QUICK, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
        self.env = {**self.base, "RAY_ADDRESS": self.address}

    def start_head(self, cpus: int) -> Node:
        port = self.address.rpartition(":")[2]
        more = ["--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={self.folder}"]
        return self._start(cpus, more)

    def add_node(self, cpus: int) -> Node:
        return self._start(cpus, [f"--address={self.address}"])

    def _start(self, cpus: int, more: list[str]) -> Node:
        log = self.folder / f"node{len(self.nodes)}.log"
        command = [RAY, "start", "--block", f"--num-cpus={cpus}", "--object-store-memory=100000000", *more]
        with log.open("w") as out:
            process = subprocess.Popen(command, env=self.base, stdout=out, stderr=out, start_new_session=True)
        node = Node(process, log)
        self.nodes.append(node)
        end = time.monotonic() + 60
        while "Ray runtime started" not in log.read_text():
            assert process.poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(0.1)
        return node

    def stop(self) -> None:
        for node in reversed(self.nodes):
            if node.process.poll() is None:
                node.lose()
        shutil.rmtree(self.folder, ignore_errors=True)
