"""Ray, started when the first stage needs it and stopped at the flow's end; and what to do when it is not there."""

import contextvars
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from typing import TypeVar

from vision.errors import MachineError

T = TypeVar("T")
OBJECT_STORE_BYTES = 512 * 2**20
KNOCK_S = 10.0
"""How long a head that is to be joined may leave its port closed."""
LOOK_S = 1.0
HEAD_LOST_S = 40.0
"""How long a head may be gone while work runs. After 60 s Ray itself ends the process, without asking."""
ONE_TRY = ("RAY_gcs_server_port_wait_time_s", "1")


def ensure_ray(address: str | None) -> None:
    """Connects to the cluster at `address`, or starts Ray on this machine; does nothing when it runs already.

    Only paths and small tables pass through Ray, so a small object store does, in a container's /dev/shm too.
    Raises `MachineError` when nobody answers at the address, or does not take this machine's token.
    """
    import ray

    if ray.is_initialized():
        return
    common = {"log_to_driver": False, "logging_level": logging.ERROR}
    with _own_sigterm():
        if address:
            _join(address, common)
        else:
            cpus = max(2, len(os.sched_getaffinity(0)))
            # "local": without it, Ray joins whatever `ray start` left on this machine, and refuses num_cpus there.
            ray.init("local", num_cpus=cpus, include_dashboard=False, object_store_memory=OBJECT_STORE_BYTES, **common)


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """ray.init takes SIGTERM for itself (an exit with code 15): whoever had it, Prefect or a command, gets it back."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread() and before is not None:
            signal.signal(signal.SIGTERM, before)


@contextmanager
def ray_session() -> Iterator[None]:
    """Stops, on leaving, the Ray that a stage inside started; leaves one alone that ran before."""
    import ray

    before = ray.is_initialized()
    try:
        yield
    finally:
        # Without a head, shutting down waits until Ray ends the process, and nobody would be told why.
        if ray.is_initialized() and not before and _open(ray.get_runtime_context().gcs_address):
            ray.shutdown()


def on_ray(work: Callable[[], T]) -> T:
    """`work()`, given up with a `MachineError` when the cluster's head has been gone for HEAD_LOST_S.

    Ray's own calls then wait, deaf to signals and exceptions, so they wait in a thread.
    """
    import ray
    from ray.exceptions import RayError

    head, outcome = ray.get_runtime_context().gcs_address, Future()
    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(_into, outcome, work), daemon=True).start()
    seen = time.monotonic()
    while True:
        done, _ = wait([outcome], timeout=LOOK_S)
        answers = _open(head)
        if done and (answers or not isinstance(outcome.exception(), RayError)):
            return outcome.result()
        now = time.monotonic()
        if answers:
            seen = now
        elif done or now - seen > HEAD_LOST_S:
            raise MachineError(
                f"Ray's head node at {head} is gone",
                "a head node that stays up while work runs",
                "start the cluster again (on one machine: look for a process killed for want of memory)",
            )


def _into(outcome: Future, work: Callable[[], T]) -> None:
    try:
        outcome.set_result(work())
    except BaseException as error:
        outcome.set_exception(error)


def _join(address: str, common: dict) -> None:
    import ray

    _knock(address)
    name, value = ONE_TRY
    os.environ[name] = value  # Ray's own twenty tries, each with a line of log, add nothing to an open port
    try:
        ray.init(address=address, **common)
    except Exception as error:
        raise _refused(address, error) from error
    finally:
        del os.environ[name]


def _knock(address: str) -> None:
    """Other addresses than host:port (`auto`, `ray://…`) are Ray's to judge."""
    host, _, port = address.rpartition(":")
    if not port.isdigit() or not host or "/" in host:
        return
    end = time.monotonic() + KNOCK_S
    while not _open(address):
        if time.monotonic() > end:
            raise MachineError(
                f"RAY_ADDRESS={address}: nothing answers there (tried for {KNOCK_S:.0f} s)",
                "host:port of a running Ray head",
                "start one (`ray start --head`), correct the address, or unset RAY_ADDRESS to use this machine",
            )
        time.sleep(LOOK_S)


def _open(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=3).close()
        return True
    except OSError:
        return False


def _refused(address: str, error: Exception) -> MachineError:
    told, link = [], error
    while link is not None:
        told.append(f"{type(link).__name__}: {link}")
        link = link.__cause__ or link.__context__
    if any("AuthenticationError" in text for text in told):
        return MachineError(
            f"RAY_ADDRESS={address}: the cluster does not take this machine's token",
            "the token that the cluster was started with, and RAY_AUTH_MODE=token, on every machine",
            "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH to a copy of the cluster's token file",
        )
    return MachineError(
        f"RAY_ADDRESS={address}: could not join: {told[0].strip()}",
        "a running Ray head of the same Ray and Python version, and a Ray node on this machine",
        "see what runs there (`ray status`), or unset RAY_ADDRESS to use this machine",
    )
