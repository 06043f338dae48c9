"""Starts a served model, asks it the golden images over HTTP and stops it again."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from vision.errors import MachineError, UserError
from vision.export.golden import golden_files, golden_outputs, golden_sizes
from vision.kinds import answering
from vision.package import Package
from vision.verdict import Verdict

HOST = "127.0.0.1"
START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 15.0
POLL_S = 0.1
LOG_TAIL_CHARS = 2000
TOLERANCES = {"float32": 0.01, "bfloat16": 0.05, "int8": 0.1}
"""By the precision that the server's engine computes in; the golden outputs are float32."""


@dataclass(frozen=True)
class Server:
    """A running server. `pid` leads a process group of its own; `ready_s`: from start to the first 200 of /readyz."""

    url: str
    pid: int
    log: Path
    ready_s: float


@contextlib.contextmanager
def serving(
    target: str, folder: Path, log: Path, env: Mapping[str, str] | None = None, timeout_s: float = START_TIMEOUT_S
) -> Iterator[Server]:
    """Runs `bentoml serve <target>` in `folder` on a free port of this machine until the block ends.

    target: a bento's tag, or `.` for the project in `folder`. env: on top of this process's (BENTOML_HOME for a tag).
    The server's output goes to `log`. Raises `MachineError` with the log's end when it is not ready in time.
    """
    port = free_port()
    url = f"http://{HOST}:{port}"
    command = [sys.executable, "-m", "bentoml", "serve", target, "--host", HOST, "--port", str(port)]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "BENTOML_DO_NOT_TRACK": "True", **_open_to_us(log.parent), **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        ready_s = _wait_until_ready(url, process, log, timeout_s)
        yield Server(url=url, pid=process.pid, log=log, ready_s=ready_s)
    finally:
        _stop(process)


def _open_to_us(folder: Path) -> dict[str, str]:
    """A server on loopback for a minute needs no key, whatever keys the system has; nor does its rate hold us up."""
    prefix = "VISIONOPS__SERVING__ACCESS__"
    return {
        f"{prefix}KEYS_FILE": str(folder / "no-keys.json"),
        f"{prefix}TOKEN": "null",
        f"{prefix}REQUESTS_PER_MINUTE": "1000000",
    }


def smoke(url: str, package: Package, headers: Mapping[str, str] | None = None) -> Verdict:
    """Posts the golden images to a server and compares its answers with those of the golden outputs.

    headers: with a key, for a server that wants one.
    """
    files, kind = golden_files(package.folder), answering(package.spec.kind)
    outputs, sizes = golden_outputs(package.folder), golden_sizes(package.folder)
    wanted = kind.answers(outputs, package.spec, sizes, top_k=len(package.spec.labels))
    reasons, largest = [], 0.0
    with httpx.Client(base_url=url, timeout=30, trust_env=False, headers=headers) as client:
        precision = version(client)["precision"]
        tolerance = TOLERANCES[precision]
        for path, answer in zip(files, wanted, strict=True):
            response = client.post("/predict", files={"file": (path.name, path.read_bytes())})
            gap, wrong = _differences(response, answer, package, tolerance)
            reasons += [f"{path.name}: {reason}" for reason in wrong]
            largest = max(largest, gap)
    if reasons:
        return Verdict(passed=False, reasons=tuple(reasons))
    answered = f"{len(files)} golden images answered over HTTP as the package says"
    figures = f"their numbers differ by at most {largest:.2g} (tolerance {tolerance:g} in {precision})"
    return Verdict(passed=True, reasons=(answered, figures))


def wait_until_ready(url: str, timeout_s: float) -> None:
    """For a server that somebody else started. Raises `MachineError` when /readyz has no 200 in time."""
    end, said = time.monotonic() + timeout_s, "nothing"
    while True:
        try:
            status = httpx.get(f"{url}/readyz", timeout=10, trust_env=False).status_code
        except httpx.HTTPError as error:
            said = str(error) or type(error).__name__
        else:
            if status == 200:
                return
            said = f"status {status}"
        if time.monotonic() > end:
            raise MachineError(
                f"{url}/readyz: not ready in {timeout_s:.0f} s ({said})",
                "a service that is up",
                "look at its log, or wait longer (WAIT=seconds)",
            )
        time.sleep(POLL_S)


def version(client: httpx.Client) -> dict:
    """What /model/version says. Raises `UserError` where it wants another key, or none is known there."""
    answer = client.get("/model/version")
    if answer.status_code in (401, 403):
        raise UserError(
            f"{client.base_url} does not let us in: status {answer.status_code}",
            "a key of that service which may predict",
            "set VISIONOPS_SERVICE_KEY; `python -m bentos.access create` makes one",
        )
    return answer.raise_for_status().json()


def _differences(response: httpx.Response, wanted: dict, package: Package, tolerance: float) -> tuple[float, list[str]]:
    """The largest gap between the answers' numbers, and all that is wrong with the answer."""
    if response.status_code != 200:
        return 0.0, [f"status {response.status_code}: {response.text[:200]}"]
    got, package_sha = response.json(), package.package_sha
    gap, found = answering(package.spec.kind).compare(got, wanted, tolerance)
    if got["model"]["package_sha"] != package_sha:
        found = (f"answered by package {got['model']['package_sha'][:12]}, not {package_sha[:12]}", *found)
    return gap, list(found)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def _wait_until_ready(url: str, process: subprocess.Popen, log: Path, timeout_s: float) -> float:
    start = time.monotonic()
    while (waited_s := time.monotonic() - start) < timeout_s:
        if process.poll() is not None:
            raise _not_ready(f"the server ended with code {process.returncode}", log)
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{url}/readyz", timeout=2, trust_env=False).status_code == 200:
                return time.monotonic() - start
        time.sleep(POLL_S)
    raise _not_ready(f"the server was not ready after {waited_s:.0f} s", log)


def _not_ready(what: str, log: Path) -> MachineError:
    tail = log.read_text(errors="replace")[-LOG_TAIL_CHARS:].strip()
    return MachineError(f"{what}; its last words:\n{tail}", "a server that answers /readyz", f"read {log}")


def _stop(process: subprocess.Popen) -> None:
    """Asks the server to end; what of its own process group is left after STOP_TIMEOUT_S is killed."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_TIMEOUT_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
